"""A Django site in one file: a page with a form that is public for a minute, a login, a page for who is logged in."""
import os, sys

from django.conf import settings

settings.configure(
    DEBUG=False, SECRET_KEY="secret", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DJANGO_DB"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
)
import django

django.setup()
from django.contrib.auth import authenticate, login
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.cache import cache_control


@cache_control(public=True, max_age=60)
def form(request):
    return HttpResponse(f"token={get_token(request)}")


def enter(request):
    if request.method == "POST":
        user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
        if user:
            login(request, user)
            return HttpResponse("welcome")
        return HttpResponse("no", status=403)
    return HttpResponse(f"token={get_token(request)}")


def me(request):
    return HttpResponse(request.user.get_username() or "nobody")


urlpatterns = [path("form", form), path("login", enter), path("me", me)]
application = get_wsgi_application()
if __name__ == "__main__" and sys.argv[1:] == ["prepare"]:
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    User.objects.create_user("alice", password="pass")
