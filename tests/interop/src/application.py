"""The application of the HTTP tests on the package's side: the same paths as the one in Rust beside it.

Every form carries `csrfmiddlewaretoken`, which the package's own middleware checks before a view runs.
"""

import json
import time

from lback.auth.session_auth import SessionAuth
from lback.core.response import Response

MIDDLEWARES = [
    "lback.middlewares.sqlalchemy_middleware.SQLAlchemySessionMiddleware",
    "lback.middlewares.body_parsing_middleware.BodyParsingMiddleware",
    "lback.middlewares.session_middleware.SessionMiddleware",
    "lback.middlewares.csrf.CSRFMiddleware",
]


def text(body):
    return Response(body=body, status_code=200, headers={"Content-Type": "text/plain; charset=utf-8"})


def field(request, name):
    """A field of a form: the body is parsed into lists."""
    value = request.parsed_body.get(name)
    return value[0] if isinstance(value, list) else value


def show(request):
    """Who is signed in, and all that the session holds."""
    auth = SessionAuth(request.get_context("session_manager"))
    user = auth.get_current_user_id(request) if auth.is_authenticated(request) else None
    return text(json.dumps({"user": None if user is None else str(user), "data": dict(request.session.items())}))


def token(request):
    """The CSRF token for a form. The middleware has made one where there was none."""
    return text(request.session.get("_csrf_token"))


def flashes(request):
    return text(json.dumps(request.session.get_flashed_messages()))


def flash(request):
    request.session.set_flash(field(request, "message"), field(request, "category"))
    return text("said")


def change(request):
    request.session[field(request, "key")] = json.loads(field(request, "value"))
    return text("changed")


def remove(request):
    del request.session[field(request, "key")]
    return text("removed")


def slow(request):
    """Reads and changes as any view does, and takes its time in between."""
    time.sleep(float(field(request, "seconds")))
    return change(request)


def fail(request):
    change(request)
    raise RuntimeError("the view fails after its change")


def sign_in(request):
    user = field(request, "user")
    auth = SessionAuth(request.get_context("session_manager"))
    signed_in = auth.login(request, int(user) if user.isdigit() else user, field(request, "type") or "user")
    return text("signed in" if signed_in else "refused")


def sign_out(request):
    auth = SessionAuth(request.get_context("session_manager"))
    return text("signed out" if auth.logout(request) else "refused")


GETS = (show, token, flashes)
POSTS = (flash, change, remove, slow, fail, sign_in, sign_out)


def add_routes(server):
    for view, method in [(view, "GET") for view in GETS] + [(view, "POST") for view in POSTS]:
        path = "/" + view.__name__.replace("_", "-")
        server.app_controller.add_route(path, view, methods=[method], requires_auth=False)
