"""What every stack needs: free ports, processes that end, an edge in front of an origin, and a count of what held."""
import atexit, contextlib, http.client, os, re, shutil, signal, socket, subprocess, tempfile, threading, time
from http.server import ThreadingHTTPServer

EDGE = os.environ["VERGE_EDGE"]
TOOLS = os.environ["STACK_TOOLS"]  # node/ and venv/, made by .ci/real-stacks
PYTHON = f"{TOOLS}/venv/bin/python"
NODE = {**os.environ, "NODE_PATH": f"{TOOLS}/node/node_modules"}
HERE = os.path.dirname(os.path.abspath(__file__))
SCRATCH = tempfile.mkdtemp(prefix="verge-stacks-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
os.chmod(SCRATCH, 0o755)
passed = failed = 0


def check(rule, held, seen=""):
    """Counts one rule; `seen` is printed when it did not hold."""
    global passed, failed
    if held:
        passed += 1
        print(f"ok    {rule}", flush=True)
    else:
        failed += 1
        print(f"FAIL  {rule}\n      | {str(seen)[:1500]}", flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def folder():
    path = tempfile.mkdtemp(dir=SCRATCH)
    os.chmod(path, 0o755)
    return path


@contextlib.contextmanager
def serving(handler):
    """An HTTP server in this process, and its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def until(condition, seconds=90):
    """Waits for an event of a foreign program that can only be asked about."""
    end = time.monotonic() + seconds
    while not (seen := condition()):
        if time.monotonic() > end:
            return None
        time.sleep(0.02)
    return seen


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@contextlib.contextmanager
def process(command, port, **options):
    """A program that serves on `port` while the block runs."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
        try:
            if not until(lambda: accepts(port) or child.poll() is not None) or child.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"{command[0]} did not start: {log.read()[-800:]}")
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


@contextlib.contextmanager
def edge(origin, site="", top=""):
    """An edge with default settings in front of `origin`; gives its port."""
    port, home = free_port(), folder()
    with open(f"{home}/edge.toml", "w") as file:
        file.write(f'listen = ["127.0.0.1:{port}"]\n{top}\n[[site]]\nhosts = ["*"]\norigins = ["http://127.0.0.1:{origin}"]\n{site}\n')
    with process([EDGE, "serve", "--config", f"{home}/edge.toml"], port):
        yield port


class Answer:
    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.headers = response.msg

    def field(self, name):
        return self.headers.get(name) or ""

    @property
    def cookies(self):
        """Name and value of each Set-Cookie, as a client would send them back."""
        return "; ".join(line.split(";")[0] for line in self.headers.get_all("set-cookie") or [])

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:200]!r}"


def ask(port, target, method="GET", body=None, host="www.example.com", **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Host": host, **{name.replace("_", "-"): value for name, value in fields.items()}}
        connection.request(method, target, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def run(command, seconds=120, **options):
    """Runs a client to its end: its exit status and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)
    return done.returncode, done.stdout + done.stderr
