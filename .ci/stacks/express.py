"""Express with sessions: nobody is given the session of another, and a returning visitor keeps his own."""
from lab import *


def stack():
    port, home = free_port(), folder()
    with open(f"{home}/style.css", "w") as file:
        file.write("body { color: black }\n")
    with process(["node", f"{HERE}/express.js", str(port), home], port, env=NODE), edge(port) as front:
        first, second = (ask(front, "/static/style.css", User_Agent=who) for who in ("one", "two"))
        check("express: two new visitors have two sessions", first.cookies != second.cookies and first.cookies, (first, second))
        ask(front, "/login/alice", Cookie=first.cookies)
        mine, other = ask(front, "/me", Cookie=first.cookies), ask(front, "/me", Cookie=second.cookies)
        check("express: a visitor who logged in is known", mine.body == b"you are alice", mine)
        check("express: another visitor is not taken for him", other.body == b"you are nobody", other)
        warm = [ask(front, "/static/style.css", Cookie=first.cookies) for _ in range(2)]
        check("express: static files of a known visitor become hits", "hit" in warm[1].field("cache-status"), warm)
