"""Asks the Prometheus of .ci/operate: `dashboards FILE`, `fires ALERT...`."""
import json
import pathlib
import sys
import time
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


{"documented": lambda arguments: documented(arguments[0]), "dashboards": lambda arguments: dashboards(arguments[0]), "fires": fires}[sys.argv[1]](sys.argv[2:])
