"""The peer: lback 1.0.3 itself on one database, told what to do in JSON lines.

It prints the path of a socket. Who connects there names a directory and a database and is served by a process
of its own, forked when the package has long been imported. It ends when its standard input does, and a forked
process when its connection does.

Each line is `[operation, argument, ...]`; each answer `{"ok": ...}` or `{"error": "Class: message"}`.
Everything goes through the package: its model, its SessionManager, and for requests its real
`wsgi_application` with both of its middlewares. A row's data travels as the literal text of a JSON
object, so that nothing of it is lost on the way.
"""

import ast
import io
import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import types
from datetime import datetime, timedelta

SETTINGS = """
ROOT_URLCONF = 'peer_urls'
INSTALLED_APPS = []
MIDDLEWARES = {middlewares!r}
LOGGING = {{'version': 1, 'disable_existing_loggers': False, 'handlers': {{'none': {{'class': 'logging.NullHandler'}}}},
           'root': {{'handlers': ['none']}}}}
"""
SESSIONS = [
    "lback.middlewares.sqlalchemy_middleware.SQLAlchemySessionMiddleware",
    "lback.middlewares.session_middleware.SessionMiddleware",
]
# The package also asks for these.
os.environ.update(
    LOGGING_LEVEL="CRITICAL",
    JWT_SECRET_KEY="not used here",
    SMTP_SERVER="localhost",
    EMAIL_USERNAME="nobody",
)
logging.basicConfig(handlers=[logging.NullHandler()])
urls = types.ModuleType("peer_urls")
urls.urlpatterns = []
sys.modules["peer_urls"] = urls

import pymysql

# `mysql://`, the package's own form, asks for another driver.
pymysql.install_as_MySQLdb()

import application
import lback.auth.session_auth
import lback.middlewares.session_middleware
import lback.utils.app_session
import lback.utils.session_manager
from lback.auth.session_auth import SessionAuth
from lback.core import config, server
from lback.core.response import Response
from lback.models.base import Base
from lback.models.session import Session
from lback.utils.app_session import AppSession
from cryptography.fernet import Fernet
from sqlalchemy import inspect
from werkzeug.serving import WSGIRequestHandler, make_server

class Clock(datetime):
    """The package's clock, which the other side sets: nobody waits for an expiry."""

    instant = None

    @classmethod
    def utcnow(cls):
        return cls.instant or datetime.utcnow()


for module in (
    lback.auth.session_auth,
    lback.middlewares.session_middleware,
    lback.utils.app_session,
    lback.utils.session_manager,
):
    module.datetime = Clock


def clock(when):
    Clock.instant = datetime.fromisoformat(when)


# What a request asks of its session: the steps of the one that is being handled, and what they gave.
STEPS, RESULTS = [], []


def wait():
    """Lets the other side have its turn, until it has said so."""
    answer({"ok": "waiting"})
    LINES.readline()


def step(request, operation, *arguments):
    session, auth = request.session, SessionAuth(server.session_manager)
    if operation == "dict":
        return json.dumps(dict(session.items()))
    if operation == "get":
        return json.dumps(session.get(*arguments))
    if operation == "set":
        key, value = arguments
        session[key] = json.loads(value)
    elif operation == "append":
        key, value = arguments
        session[key].append(json.loads(value))
    elif operation == "remove":
        del session[arguments[0]]
    elif operation == "flash":
        session.set_flash(*arguments)
    elif operation == "flashes":
        return json.dumps(session.get_flashed_messages(*arguments))
    elif operation == "login":
        user_id, user_type = arguments
        return auth.login(request, user_id, user_type)
    elif operation == "who":
        return [auth.is_authenticated(request), json.dumps(auth.get_current_user_id(request))]
    elif operation == "logout":
        return auth.logout(request)
    elif operation == "hold":
        # In a request the package holds the write lock meanwhile.
        wait()
    else:
        raise ValueError(operation)
    return None


def view(request):
    for operation in STEPS:
        RESULTS.append(step(request, *operation))
    return Response(body="done", status_code=200)


def request(cookie, *steps):
    """One request through the real WSGI application: its status, its Set-Cookie, and what each step gave."""
    STEPS[:], RESULTS[:] = steps, []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/view",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    if cookie is not None:
        environ["HTTP_COOKIE"] = cookie
    heads = []
    body = b"".join(server.wsgi_application(environ, lambda status, headers: heads.append((status, headers))))
    [(status, headers)] = heads
    cookies = [value for name, value in headers if name.lower() == "set-cookie"]
    return {"status": int(status.split()[0]), "cookies": cookies, "results": RESULTS[:], "body": body.decode()}


def transaction(change):
    """Does it in a session of the package's own factory, as its middleware does."""
    db_session = server.db_manager.create_session()
    try:
        result = change(db_session)
        db_session.commit()
        return result
    except BaseException:
        db_session.rollback()
        raise
    finally:
        db_session.close()


def create_table():
    """As its `create_all` does, but only the sessions: nobody needs the package's other tables here."""
    Base.metadata.create_all(bind=server.db_manager.engine, tables=[Session.__table__])


def create(data, seconds, user_id=None):
    """A row by the model: its own id, its own defaults."""

    def add(db_session):
        row = Session(expires_at=Clock.utcnow() + timedelta(seconds=seconds), user_id=user_id)
        if data is not None:
            row.data_dict = json.loads(data)
        db_session.add(row)
        db_session.flush()
        return row.id

    return transaction(add)


def create_from(expression, seconds):
    """A row whose data is a Python literal: what JSON cannot say (tuples, keys that are no strings)."""
    session_id = create(None, seconds)

    def fill(db_session):
        db_session.get(Session, session_id).data_dict = ast.literal_eval(expression)

    transaction(fill)
    return session_id


def read(session_id):
    """Everything the model makes of a row; `None` when there is none."""

    def look(db_session):
        row = db_session.get(Session, session_id)
        if row is None:
            return None
        times = (row.created_at, row.expires_at, row.updated_at)
        return {
            "id": row.id,
            "user_id": row.user_id,
            "types": [type(value).__name__ for value in (row.id, row.user_id, row.data, *times)],
            "data": row.data if isinstance(row.data, str) else None,
            "data_dict": json.dumps(row.data_dict),
            "times": [None if time is None else str(time) for time in times],
            "repr": repr(row),
        }

    return transaction(look)


def change(session_id, key, value, waits=False):
    """One key by the model's setter; if it `waits`, the other side has its turn between reading and writing."""

    def edit(db_session):
        row = db_session.get(Session, session_id)
        changed = {**row.data_dict, key: json.loads(value)}
        if waits:
            wait()
        row.data_dict = changed

    transaction(edit)


def expire(session_id, seconds):
    """Moves the expiry by the model, forward or back."""

    def edit(db_session):
        db_session.get(Session, session_id).expires_at = Clock.utcnow() + timedelta(seconds=seconds)

    transaction(edit)


def delete(session_id):
    """By the model: SQLAlchemy deletes what it has loaded."""

    def remove(db_session):
        db_session.delete(db_session.get(Session, session_id))

    transaction(remove)


def manager(method, *arguments):
    """A method of the package's SessionManager, and what it returns as far as JSON has words for it."""

    def call(db_session):
        result = getattr(server.session_manager, method)(db_session, *arguments)
        return json.loads(json.dumps(result, default=str))

    return transaction(call)


def app_session(session_id, *steps):
    """AppSession without a request: loads, does the steps, saves."""

    def work(db_session):
        session = AppSession(session_id, None, server.session_manager, db_session)
        loaded = session.load()

        class Request:
            pass

        Request.session = session
        results = [step(Request, *operation) for operation in steps]
        return {"loaded": loaded, "results": results, "saved": session.save()}

    return transaction(work)


def sql(statement, *values):
    """A statement of somebody who uses no model."""
    with server.db_manager.engine.begin() as connection:
        result = connection.exec_driver_sql(statement, tuple(values))
        return [list(row) for row in result] if result.returns_rows else result.rowcount


def columns():
    """The table as SQLAlchemy reflects it, and as the model declares it."""
    engine = server.db_manager.engine
    reflected = inspect(engine)

    def described(column):
        return [column["name"], str(column["type"].compile(engine.dialect)), bool(column["nullable"])]

    declared = [{"name": it.name, "type": it.type, "nullable": it.nullable} for it in Session.__table__.columns]
    return {
        "reflected": [described(column) for column in reflected.get_columns("sessions")],
        "declared": [described(column) for column in declared],
        "primary_key": reflected.get_pk_constraint("sessions")["constrained_columns"],
        "indexes": sorted(index["name"] for index in reflected.get_indexes("sessions")),
    }


class Silent(WSGIRequestHandler):
    """Logs no requests."""

    def log(self, type, message, *args):
        pass


def listen():
    """The application behind the package's own server, a thread for each request; the port it took."""
    http = make_server("127.0.0.1", 0, server.wsgi_application, threaded=True, request_handler=Silent)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    return http.server_port


# The connection of this process, once it has one.
LINES = None


def answer(what):
    LINES.write(json.dumps(what, default=str) + "\n")
    LINES.flush()


OPERATIONS = (
    app_session,
    change,
    clock,
    columns,
    create,
    create_from,
    create_table,
    delete,
    expire,
    listen,
    manager,
    read,
    request,
    sql,
)

NAMES = {operation.__name__: operation for operation in OPERATIONS}


def begin(project, environment, password, is_application):
    """Sets the package up as its users do: by a settings file and the environment."""
    middlewares = application.MIDDLEWARES if is_application else SESSIONS
    with open(os.path.join(project, "settings.py"), "w", encoding="ascii") as settings:
        settings.write(SETTINGS.format(middlewares=middlewares))
    os.chdir(project)
    os.environ.update(environment)
    if password is not None:
        # The package takes it encrypted only.
        key = config.DEFAULTS["ENCRYPTION_KEY"].encode()
        os.environ["DB_PASSWORD_ENCRYPTED"] = Fernet(key).encrypt(password.encode()).decode()
    server.initialize_core_components()
    server.app_controller.add_route("/view", view, methods=["GET"], requires_auth=False)
    if is_application:
        application.add_routes(server)


def serve(connection):
    """One database, until the other side hangs up."""
    global LINES
    LINES = connection.makefile("rw", encoding="ascii", newline="\n")
    begin(**json.loads(LINES.readline()))
    answer({"ok": "ready"})
    while line := LINES.readline():
        name, *arguments = json.loads(line)
        try:
            answer({"ok": NAMES[name](*arguments)})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"})


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    directory = tempfile.mkdtemp()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(directory, "peer"))
    listener.listen(64)
    print(listener.getsockname(), flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            try:
                serve(connection)
            except BrokenPipeError:
                # Hung up in the midst of it: a test has failed and says so itself.
                pass
            finally:
                os._exit(0)
        connection.close()
    shutil.rmtree(directory)


main()
