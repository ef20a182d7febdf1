"""git over HTTP, and a container registry: clone, push, fetch, pull, re-tag, past the edge and through it."""
import hashlib, io, json, subprocess, tarfile
from http.server import BaseHTTPRequestHandler

from lab import *

MIB = 1 << 20


# --- git --------------------------------------------------------------------------------------------------------------

def backend(home):
    """git's own http-backend behind a small CGI server."""
    class Backend(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def content(self):
            if "chunked" not in (self.headers["Transfer-Encoding"] or ""):
                return self.rfile.read(int(self.headers["Content-Length"] or 0))
            pieces = []
            while length := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def do_GET(self):
            path, _, query = self.path.partition("?")
            body = self.content()
            environment = {**os.environ, "GIT_PROJECT_ROOT": home, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
                           "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers["Content-Type"] or "", "CONTENT_LENGTH": str(len(body)),
                           "REMOTE_USER": "demo", "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
                           "GIT_PROTOCOL": self.headers["Git-Protocol"] or ""}
            said = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True).stdout
            head, _, rest = said.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            status = next((line[8:] for line in lines if line.startswith("Status: ")), "200 OK")
            fields = [line for line in lines if not line.startswith("Status: ")] + [f"Content-Length: {len(rest)}"]
            self.wfile.write(("\r\n".join([f"HTTP/1.1 {status}", *fields]) + "\r\n\r\n").encode() + rest)

        do_POST = do_GET
    return Backend


def git():
    home = folder()
    own = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "HOME": home, "GIT_TERMINAL_PROMPT": "0"}

    def sh(script, where=home):
        return run(["bash", "-ec", script], env=own, cwd=where)
    sh("git config --global user.email demo@example.com; git config --global user.name demo; git config --global init.defaultBranch main;"
       "git init -q --bare repo.git; git -C repo.git config http.receivepack true;"
       "git init -q work; cd work; echo 1 > first; git add .; git commit -qm first; git push -q ../repo.git main")
    with serving(backend(home)) as port, edge(port) as front:
        url = f"http://127.0.0.1:{front}/repo.git"
        for rule, script in (
            ("clone", f"git clone -q {url} one; test -e one/first"),
            ("push 6 MB", "cd one; head -c 6000000 /dev/urandom > big; git add .; git commit -qm big; git push -q origin main"),
            ("a second clone has it", f"git clone -q {url} two; cmp one/big two/big"),
            ("a shallow clone", f"git clone -q --depth 1 {url} three; test $(git -C three rev-list --count HEAD) = 1"),
            ("protocol version 0", f"git -c protocol.version=0 clone -q {url} four; test -e four/big"),
            ("a fetch after a push past the edge", "cd work; git pull -q ../repo.git main; echo 2 > second; git add .; git commit -qm second;"
             "git push -q ../repo.git main; cd ../two; git pull -q; test -e second"),
        ):
            code, said = sh(script)
            check(f"git: {rule}", code == 0, said)


# --- docker-registry --------------------------------------------------------------------------------------------------

def image(path, size, mark):
    """An OCI layout of one layer; its digest."""
    os.makedirs(f"{path}/blobs/sha256")

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{path}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("file")
        data = mark + os.urandom(size)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    layer, kind = blob(archive.getvalue()), "application/vnd.oci.image"
    config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode())
    manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": {"mediaType": f"{kind}.config.v1+json", **config},
                                "layers": [{"mediaType": f"{kind}.layer.v1.tar", **layer}]}).encode())
    with open(f"{path}/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [{"mediaType": f"{kind}.manifest.v1+json", **manifest,
                                                      "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}, file)
    with open(f"{path}/oci-layout", "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    return manifest["digest"]


def registry():
    home, port = folder(), free_port()
    with open(f"{home}/config.yml", "w") as file:
        file.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {home}/data}}, delete: {{enabled: true}}}}\n"
                   f"http: {{addr: '127.0.0.1:{port}'}}\n")
    digests = {"one": image(f"{home}/one", 40 * MIB, b"one"), "two": image(f"{home}/two", 1000, b"two")}
    with process(["docker-registry", "serve", f"{home}/config.yml"], port), edge(port) as front:
        def skopeo(*arguments):
            return run(["skopeo", "--insecure-policy", *arguments])

        def push(name, through):
            return skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{home}/{name}:latest", f"docker://127.0.0.1:{through}/app:latest")

        def pulled(to):
            code, said = skopeo("copy", "--preserve-digests", "--src-tls-verify=false", f"docker://127.0.0.1:{front}/app:latest", f"oci:{home}/{to}:latest")
            return said if code else json.load(open(f"{home}/{to}/index.json"))["manifests"][0]["digest"]
        check("registry: push 40 MiB", push("one", front)[0] == 0)
        check("registry: pull it", (seen := pulled("a")) == digests["one"], seen)
        check("registry: push another image under the tag", push("two", front)[0] == 0)
        check("registry: pull the new one", (seen := pulled("b")) == digests["two"], seen)
        check("registry: push past the edge", push("one", port)[0] == 0)
        check("registry: pull what was pushed past it", (seen := pulled("c")) == digests["one"], seen)


def stack():
    git()
    registry()
