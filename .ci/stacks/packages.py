"""apt, pip and npm from local indexes: a client that updates sees what is new, and installs are whole."""
import base64, gzip, hashlib, io, json, tarfile, zipfile
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler

from lab import *

MONTH = 30 * 86400


def files_of(home):
    """A plain web server of files: Last-Modified and no Cache-Control, as most mirrors are."""
    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=home)

        def log_message(self, *arguments):
            pass
    return Files


def write(path, data, age=0):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    os.utime(path, (time.time() - age,) * 2)


# --- apt --------------------------------------------------------------------------------------------------------------

def publish(home, versions, ages):
    """A Debian repository with one package for each component."""
    suite, sums = f"{home}/dists/stable", []
    for component, version in versions.items():
        text = (f"Package: demo-{component}\nVersion: {version}\nArchitecture: amd64\nMaintainer: demo <demo@example.com>\n"
                f"Filename: pool/demo-{component}_{version}.deb\nSize: 1\nSHA256: {'0' * 64}\nDescription: {component}\n\n")
        name = f"{component}/binary-amd64/Packages"
        write(f"{suite}/{name}", text, ages.get(component, 0))
        sums.append(f" {hashlib.sha256(text.encode()).hexdigest()} {len(text)} {name}")
    date = formatdate(time.time(), usegmt=True)[:-4] + " UTC"
    head = f"Origin: demo\nSuite: stable\nCodename: stable\nDate: {date}\nArchitectures: amd64\nComponents: {' '.join(versions)}\nSHA256:\n"
    write(f"{suite}/Release", head + "\n".join(sums) + "\n", ages.get("Release", 0))


def apt_update(port, home):
    os.makedirs(f"{home}/lists/partial", exist_ok=True)
    write(f"{home}/sources.list", f"deb [trusted=yes arch=amd64] http://127.0.0.1:{port}/ stable main contrib\n")
    write(f"{home}/status", "")
    options = {"Dir::Etc::sourcelist": f"{home}/sources.list", "Dir::Etc::sourceparts": "-", "Dir::Etc::parts": "/dev/null",
               "Dir::State::lists": f"{home}/lists", "Dir::State::status": f"{home}/status", "Dir::Cache": home,
               "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Acquire::GzipIndexes": "false", "Acquire::Retries": "0", "Debug::NoLocking": "1",
               "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false", "Acquire::http::Proxy": "DIRECT"}
    code, said = run(["apt-get", "update", *(f"-o{name}={value}" for name, value in options.items())], env={**os.environ, "LC_ALL": "C"})
    lists = [open(f"{home}/lists/{name}").read() for name in os.listdir(f"{home}/lists") if name.endswith("Packages")]
    return code, sorted(re.findall(r"^Version: (.*)", "".join(lists), re.M)), said


def apt():
    home = folder()
    with serving(files_of(home)) as port, edge(port) as front:
        publish(home, {"main": "1", "contrib": "1.0"}, {"Release": 60, "main": 60, "contrib": MONTH})
        one = folder()
        check("apt: a first update", apt_update(front, one)[:2] == (0, ["1", "1.0"]))
        publish(home, {"main": "1", "contrib": "2.00"}, {"main": 60})
        seen = apt_update(front, folder())
        check("apt: another client sees a component that seldom changes", seen[:2] == (0, ["1", "2.00"]), seen)
        seen = apt_update(front, one)
        check("apt: so does the first when it updates again", seen[:2] == (0, ["1", "2.00"]), seen)


# --- pip --------------------------------------------------------------------------------------------------------------

def wheel(version):
    data, info = io.BytesIO(), f"demo_pkg-{version}.dist-info"
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("demo_pkg.py", f"version = '{version}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: demo-pkg\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


def pip():
    home, versions = folder(), []
    with serving(files_of(home)) as port, edge(port) as front:
        for version in ("1.0", "2.0"):
            versions.append(version)
            write(f"{home}/files/demo_pkg-{version}-py3-none-any.whl", wheel(version), MONTH)
            links = "".join(f'<a href="/files/demo_pkg-{v}-py3-none-any.whl">demo_pkg-{v}-py3-none-any.whl</a>\n' for v in versions)
            write(f"{home}/simple/demo-pkg/index.html", f"<!DOCTYPE html><html><body>{links}</body></html>", MONTH if version == "1.0" else 0)
            target = folder()
            code, said = run([PYTHON, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--no-cache-dir", "-d", target,
                              "--index-url", f"http://127.0.0.1:{front}/simple/", "demo-pkg"])
            check(f"pip: {version} is seen as soon as it is there", code == 0 and version in "".join(os.listdir(target)), said)


# --- npm --------------------------------------------------------------------------------------------------------------

def tarball(version):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in (("package.json", json.dumps({"name": "demo-pkg", "version": version})), ("index.js", f"module.exports = '{version}'")):
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def registry(versions):
    """A registry of one package: a document that varies by coding and is validated, tarballs that never change."""
    archives = {}

    class Registry(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if "/-/" in self.path:
                version = self.path.rpartition("-")[2].removesuffix(".tgz")
                return self.say(200, archives.setdefault(version, tarball(version)), "public, immutable, max-age=31557600")
            host = self.headers["Host"]
            about = {v: {"name": "demo-pkg", "version": v, "dist": {
                "tarball": f"http://{host}/demo-pkg/-/demo-pkg-{v}.tgz",
                "integrity": "sha512-" + base64.b64encode(hashlib.sha512(archives.setdefault(v, tarball(v))).digest()).decode(),
            }} for v in versions}
            body = json.dumps({"name": "demo-pkg", "dist-tags": {"latest": versions[-1]}, "versions": about}).encode()
            tag = '"' + hashlib.sha256(body).hexdigest()[:16] + '"'
            if self.headers["If-None-Match"] == tag:
                return self.say(304, b"", "no-cache", tag)
            coded = "gzip" in (self.headers["Accept-Encoding"] or "")
            self.say(200, gzip.compress(body) if coded else body, "no-cache", tag, coded)

        def say(self, status, body, cache, tag=None, coded=False):
            self.send_response(status)
            fields = {"Cache-Control": cache, "Vary": "accept, accept-encoding", "ETag": tag, "Content-Encoding": "gzip" if coded else None}
            if status == 200:
                fields["Content-Length"] = str(len(body))
            for name, value in fields.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
    return Registry


def npm():
    versions, home = ["1.0.0"], folder()
    write(f"{home}/package.json", '{"name": "user", "version": "1.0.0"}')
    with serving(registry(versions)) as port, edge(port) as front:
        def install(what):
            code, said = run(["npm", "install", what, "--registry", f"http://127.0.0.1:{front}/", "--cache", f"{home}/cache", "--no-audit", "--no-fund"], cwd=home)
            file = f"{home}/node_modules/demo-pkg/index.js"
            return code, open(file).read() if os.path.exists(file) else said
        check("npm: a first install", install("demo-pkg") == (0, "module.exports = '1.0.0'"))
        versions.append("2.0.0")
        seen = install("demo-pkg@latest")
        check("npm: what was published is installed at once", seen == (0, "module.exports = '2.0.0'"), seen)


def stack():
    apt()
    pip()
    npm()
