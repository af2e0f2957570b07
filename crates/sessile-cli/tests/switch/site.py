"""A Django site with its users and sessions in its database, behind a real server.

`site.py` is told the database in SITE_DATABASE, as JSON of Django's own settings. It makes the tables, prints its
address on a line, and ends when its standard input does.
"""

import json
import os
import socketserver
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pymysql

# Django asks for another driver.
pymysql.install_as_MySQLdb()

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ["SITE_SECRET_KEY"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="__main__",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": json.loads(os.environ["SITE_DATABASE"])},
    # As Django's documentation has it for tests; the sessions are the same.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    # A zone in which a time that is taken for local is hours off.
    TIME_ZONE="Asia/Tokyo",
)
django.setup()

from django.contrib import auth
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

KEYS = ("cart", "visits")
PASSWORD = "lovelace"


def show(request):
    shown = {key: request.session.get(key) for key in KEYS}
    shown["user"] = str(request.user.pk) if request.user.is_authenticated else None
    return JsonResponse(shown)


def change(request):
    request.session[request.POST["key"]] = json.loads(request.POST["value"])
    return HttpResponse("changed")


def sign_in(request):
    user = auth.authenticate(request, username=request.POST["user"], password=PASSWORD)
    if user is None:
        return HttpResponse("refused", status=401)
    auth.login(request, user)
    return HttpResponse("signed in")


def sign_out(request):
    auth.logout(request)
    return HttpResponse("signed out")


VIEWS = {"show": show, "change": change, "sign-in": sign_in, "sign-out": sign_out}
urlpatterns = [path(name, view) for name, view in VIEWS.items()]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Silent(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


def main():
    call_command("migrate", verbosity=0)
    password = make_password(PASSWORD)
    User.objects.bulk_create(User(pk=number, username=str(number), password=password) for number in range(1, 201))
    server = make_server("127.0.0.1", 0, get_wsgi_application(), Server, Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("127.0.0.1:%d" % server.server_port, flush=True)
    sys.stdin.read()


main()
