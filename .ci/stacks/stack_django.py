"""Django behind gunicorn: own CSRF tokens on public pages, a login that holds, the cookies of strangers apart."""
from lab import *


def token(answer):
    return answer.body.decode().partition("token=")[2]


def stack():
    port, home = free_port(), folder()
    environment = {**os.environ, "DJANGO_DB": f"{home}/db.sqlite3", "PYTHONPATH": HERE}
    code, said = run([PYTHON, f"{HERE}/django_app.py", "prepare"], env=environment)
    check("django: the site is made", code == 0, said)
    gunicorn = [PYTHON, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "2", "django_app:application"]
    with process(gunicorn, port, env=environment, cwd=HERE), edge(port) as front:
        forms = [ask(front, "/form") for _ in range(2)]
        check("django: two visitors have two CSRF cookies", forms[0].cookies and forms[0].cookies != forms[1].cookies, forms)
        page = ask(front, "/login")
        fields = {"Cookie": page.cookies, "Content_Type": "application/x-www-form-urlencoded", "Origin": "http://www.example.com"}
        entered = ask(front, "/login", "POST", f"name=alice&password=pass&csrfmiddlewaretoken={token(page)}", **fields)
        check("django: a login through the edge is taken", entered.body == b"welcome", entered)
        mine, other = ask(front, "/me", Cookie=entered.cookies), ask(front, "/me")
        check("django: who logged in is known", mine.body == b"alice", mine)
        check("django: a stranger is not", other.body == b"nobody", other)
        forged = ask(front, "/login", "POST", "name=alice&password=pass", Content_Type=fields["Content_Type"])
        check("django: a form without a token is refused", forged.status == 403, forged)
        # gunicorn closes a connection that was idle for two seconds; requests at about that pace must not fail.
        statuses = []
        for pause in (1.9, 2.0, 2.1, 1.95, 2.05):
            time.sleep(pause)  # the pace is what is tried
            statuses.append(ask(front, "/me").status)
        check("django: gunicorn's idle time costs no request", set(statuses) == {200}, statuses)
