"""The scenario's routes on Django, with its sessions in a Redis cache.

Environment: PORT, REDIS_PORT, TTL in seconds; ENGINE is `cache` or `cached_db`; BACKEND is the
cache's class path; DATABASE is the SQLite file `cached_db` writes through to, shared by the clones.
`django_app.py migrate` creates that database's tables and ends.
"""

import os
import sys

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="the same on every clone",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends." + os.environ["ENGINE"],
    SESSION_COOKIE_AGE=int(os.environ["TTL"]),
    CACHES={
        "default": {
            "BACKEND": os.environ["BACKEND"],
            "LOCATION": "redis://127.0.0.1:" + os.environ["REDIS_PORT"],
        }
    },
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            # Two clones write the same file: wait for the lock at BEGIN, not in the middle.
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }
    },
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"django": {"handlers": ["console"], "level": "ERROR"}},
    },
)
django.setup()


def needs_user(view):
    """Answers 401 unless the session belongs to a user."""

    def guarded(request):
        if "user" not in request.session:
            return JsonResponse({"user": None}, status=401)
        return view(request)

    return guarded


def login(request):
    request.session.cycle_key()
    request.session["user"] = request.GET["user"]
    return JsonResponse({"user": request.session["user"]})


def whoami(request):
    return JsonResponse({"user": request.session.get("user"), "data": request.session.get("data", {})})


@needs_user
def set_value(request):
    data = request.session.get("data", {}) | {request.GET["k"]: request.GET["v"]}
    request.session["data"] = data
    return JsonResponse({"data": data})


@needs_user
def touch(request):
    request.session.modified = True
    return JsonResponse({"user": request.session["user"]})


@needs_user
def regenerate(request):
    request.session.cycle_key()
    return JsonResponse({"user": request.session["user"]})


def logout(request):
    request.session.flush()
    return JsonResponse({"user": None})


urlpatterns = [
    path("login", login),
    path("whoami", whoami),
    path("set", set_value),
    path("touch", touch),
    path("regenerate", regenerate),
    path("logout", logout),
]

if __name__ == "__main__":
    if sys.argv[1:] == ["migrate"]:
        call_command("migrate", verbosity=0)
    else:
        from waitress import serve

        serve(get_wsgi_application(), host="127.0.0.1", port=int(os.environ["PORT"]))
