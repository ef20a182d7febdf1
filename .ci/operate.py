"""Asks the Prometheus and the servers of .ci/operate: `dashboards FILE`, `documented FILE`, `api UNIT FILE TOKEN`."""
import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Panels that show nothing as long as nothing is wrong, or that need what is not started here.
MAY_BE_EMPTY = {
    "At fault", "Since each of these was good", "Alerts that fire", "Serials that differ between servers", "Time until signatures expire", "Time until copies expire",
    "Requests without an answer", "Limits that held clients back", "Down or drained",
}
PATIENCE_SECS = 45


def ask(path, **query):
    url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def until(check):
    """Asks until nothing is left to say, or the time is up; what is left."""
    end = time.monotonic() + PATIENCE_SECS
    while (left := check()) and time.monotonic() < end:
        time.sleep(1)
    return left


def dashboards(file):
    lines = [line.rstrip("\n").split("\t") for line in open(file)]

    def unanswered():
        left = []
        for dashboard, title, expr in lines:
            answer = ask("query", query=expr)
            if answer["status"] != "success":
                sys.exit(f"FAIL  {dashboard}: {title}: {answer['error']}: {expr}")
            if not answer["data"]["result"] and title not in MAY_BE_EMPTY:
                left.append(f"{dashboard}: {title}: no series: {expr}")
        return left

    report(until(unanswered), f"{len(lines)} expressions of dashboards are answered")


def report(left, done):
    if left:
        sys.exit("\n".join(f"FAIL  {one}" for one in left))
    print("ok   ", done)


def documented(file):
    """Each metric is a row of the page: its name in the first column."""
    page = {line.split("`")[1].split("{")[0].removesuffix("_total") for line in open(file) if line.startswith(("| `verge_", "| `process_"))}
    exported = {one["metric"] for one in ask("targets/metadata")["data"]}
    exported = {name for name in exported if name.startswith(("verge_", "process_"))}
    # Of what the page has, some is there only where it is used.
    sources = "".join(path.read_text() for unit in ("dns", "edge") for path in pathlib.Path(unit, "src/metrics").glob("*.rs"))
    sources += pathlib.Path("dns/src/metrics.rs").read_text() + pathlib.Path("edge/src/metrics.rs").read_text()
    bare = lambda name: name.removeprefix("verge_dns_").removeprefix("verge_edge_").removesuffix("_total")
    units = ("_seconds", "_bytes")
    stems = lambda name: {bare(name), *(bare(name).removesuffix(unit) for unit in units)}
    gone = [name for name in page - exported if not any(f'"{stem}"' in sources for stem in stems(name))]
    report([f"{name} is not in {file}" for name in sorted(exported - page)] + [f"{file}: there is no {name}" for name in sorted(gone)],
           f"{len(exported)} metrics are documented")


STREAMS = ("/events", "/tail")


def api(unit, file, token_file):
    """A running server does what its OpenAPI file says: paths, methods, rights, and the members of its answers."""
    document, token, said = json.load(open(file)), open(token_file).read().split()[0], []
    routes = set(re.findall(r'at\("(/[^"]*)"', pathlib.Path(unit, "src/admin/routes.rs").read_text()))
    if differ := routes ^ set(document["paths"]):
        said.append(f"{file} and the server's routes differ: {sorted(differ)}")
    base = document["servers"][0]["url"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            said += operated(base, path, method, operation, document, token)
    report(said, f"{len(document['paths'])} paths of verge-{unit}'s API are as {file} says")


def operated(base, path, method, operation, document, token):
    said, body = [], operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    query = {one["name"]: one["example"] for one in operation.get("parameters", []) if one.get("required") and "example" in one}
    url = f"{base}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
    send = lambda more={}, body=body: request(method.upper(), url, body, more)
    statuses, mine = set(map(int, operation["responses"])), {"Authorization": f"Bearer {token}"}

    def expect(what, answer, *wanted):
        status, media, text = answer
        if status not in wanted:
            said.append(f"{method} {path}, {what}: {status}, not {wanted}")
        elif status >= 400 and (path, status) != ("/readyz", 503) and (media != "application/problem+json" or json.loads(text)["status"] != status):
            said.append(f"{method} {path}, {what}: {media}: {text[:100]} is no problem of {status}")

    if 405 not in statuses:
        said.append(f"{method} {path}: 405 is not in the file")
    if operation["security"] == [] or {} in operation["security"]:
        expect("without a token", send(), 200, *([503] if path == "/readyz" else []))
        expect("by a name that is not its own", send({"Host": "evil.example"}), 421)
        expect("as POST", request("POST", url, None, {}), 405)
        return said
    expect("without a token", send(), 401, *([421] if "421" in operation["responses"] else []))
    expect("with another token", send({"Authorization": "Bearer 0123456789abcdef"}), 401)
    if method == "put":
        expect("with nothing", send(mine), 400)
        return said
    expect("with the token", send(mine), 200, 202, *([404] if path in ("/drain", "/undrain") else []))
    expect("by another method", request("PUT" if method == "get" else "GET", url, None, mine), 405)
    status, _, answer = send(mine)
    schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
    if status == 200 and schema:
        wanted = document["components"]["schemas"][schema.split("/")[-1]].get("required", [])
        if absent := [name for name in wanted if name not in json.loads(answer)]:
            said.append(f"{method} {path}: the answer lacks {absent}: {answer[:200]}")
    if "requestBody" in operation:
        for strange in ({"no-such": 1}, [], "text", {"url": 7}, {"site": "\u0000"}, {"headers": [["a"]]}, {"on": "x", "drain": []}, {"from": "9" * 400}):
            status = send(mine, strange)[0]
            if status not in statuses:
                said.append(f"{method} {path} with {strange}: {status} is not in the file")
    return said


def request(method, url, body, headers):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, headers, method=method)
    if method in ("POST", "PUT") and data is None:
        asked.data = b""
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            # A stream has no end: its head is enough.
            is_stream = urllib.parse.urlsplit(url).path in STREAMS
            return response.status, response.headers.get_content_type(), b"" if is_stream else response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


{"api": lambda arguments: api(*arguments), "documented": lambda arguments: documented(arguments[0]), "dashboards": lambda arguments: dashboards(arguments[0])}[sys.argv[1]](sys.argv[2:])
