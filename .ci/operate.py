"""Asks the Prometheus of .ci/operate: `dashboards FILE`, `fires ALERT...`."""
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
    "At fault", "Alerts that fire", "Serials that differ between servers", "Time until signatures expire", "Time until copies expire",
    "Requests without an answer", "Limits that held clients back",
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


def fires(alerts):
    def silent():
        firing = {one["labels"]["alertname"] for one in ask("alerts")["data"]["alerts"] if one["state"] == "firing"}
        return sorted(set(alerts) - firing)

    report(until(silent), f"fires: {' '.join(alerts)}")


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


def api(file, token_file):
    """The edge does what the OpenAPI file says: paths, methods, rights, and the members of its answers."""
    document, token, said = json.load(open(file)), open(token_file).read().split()[0], []
    source = pathlib.Path("edge/src/admin.rs").read_text()
    told = source.split("const THERE_IS: &str =")[1].split('";')[0]
    if missing := [word for word in re.findall(r"/[a-z]+", told) if word not in document["paths"]]:
        said.append(f"{file} lacks {', '.join(missing)}")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            send = lambda more={}, body=body: request(method.upper(), path, body, more)
            statuses = set(map(int, operation["responses"]))
            expect = lambda what, status, *wanted: None if status in wanted else said.append(f"{method} {path}, {what}: {status}, not {wanted}")
            if not operation["security"]:
                expect("without a token", send()[0], 200)
                expect("by a name that is not its own", send({"Host": "evil.example"})[0], 421)
                continue
            expect("without a token", send()[0], 401)
            expect("with another token", send({"Authorization": "Bearer 0123456789abcdef"})[0], 401)
            mine = {"Authorization": f"Bearer {token}"}
            if method == "put":
                expect("with nothing", send(mine)[0], 400)
                continue
            if method == "get":
                expect("with the token", send(mine)[0], 200)
                continue
            status, answer = send(mine)
            expect("as the example has it", status, 200)
            expect("as GET", request("GET", path, None, mine)[0], 405)
            schema = document["components"]["schemas"][operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]]
            if status == 200 and (absent := [name for name in schema.get("required", []) if name not in json.loads(answer)]):
                said.append(f"{method} {path}: the answer lacks {absent}: {answer[:200]}")
            if "requestBody" in operation:
                # From here on like schemathesis: whatever is sent, the status is a documented one, and nothing breaks.
                for strange in ({"no-such": 1}, [], "text", {"url": 7}, {"site": "\u0000"}, {"headers": [["a"]]}, {"on": "x", "drain": []}, {"from": "9" * 400}):
                    status = send(mine, strange)[0]
                    if status not in statuses:
                        said.append(f"{method} {path} with {strange}: {status} is not in {file}")
    report(said, f"{len(document['paths'])} paths of the edge's API are as {file} says")


def request(method, path, body, headers):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:9301{path}", data, headers, method=method)
    if method in ("POST", "PUT") and data is None:
        asked.data = b""
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


{"api": lambda arguments: api(*arguments), "documented": lambda arguments: documented(arguments[0]), "dashboards": lambda arguments: dashboards(arguments[0]), "fires": fires}[sys.argv[1]](sys.argv[2:])
