"""ws and socket.io from npm: WebSockets pass, small and large, and socket.io by both of its ways."""
from lab import *


def stack():
    port = free_port()
    with process(["node", f"{HERE}/sockets.js", "serve", str(port)], port, env=NODE), edge(port) as front:
        code, said = run(["node", f"{HERE}/sockets.js", "ask", str(front)], env=NODE)
        for name, wanted in (("echo", "true"), ("big", "true"), ("polling", "hello you by polling"), ("websocket", "hello you by websocket")):
            check(f"sockets: {name}", f"{name} {wanted}" in said, f"exit {code}: {said}")
        many = [run(["node", f"{HERE}/sockets.js", "ask", str(front)], env=NODE)[0] for _ in range(3)]
        check("sockets: again and again", many == [0, 0, 0], many)
        check("sockets: pages are served beside them", ask(front, "/").body == b"page")
