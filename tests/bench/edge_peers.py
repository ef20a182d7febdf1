#!/usr/bin/env python3
"""What a cache hit costs verge-edge, beside nginx, HAProxy, Varnish and a bare loop, on the same core, for the same objects.

    apt-get install -y --no-install-recommends nginx haproxy varnish wrk nghttp2-client gcc
    cargo build --profile dist -p verge-edge
    tests/bench/edge_peers.py                                  # the table below
    tests/bench/edge_peers.py --logs                           # ours and nginx write an access line for each request
    tests/bench/edge_peers.py --only floor,ours --cases 1k,304 --secs 1 --rounds 5
    tests/bench/edge_peers.py --tls                            # HTTP/2 over TLS as well

Each proxy runs on core 0 and the load (wrk, h2load) on core 1, in alternating rounds; medians are printed. `floor` is
`http_floor.c`: one thread, epoll, a ready-made answer, no key, no policy, no limits. On a machine that others use, requests
a second are noise; the proxy's CPU time for one request, as a ratio to the floor's in the same run, is the steady figure.
Short rounds that alternate (--secs 1 --rounds 5) stand more noise than long ones.

Cases: one URL of each size; `304`, a conditional GET; `zipf1k`, 20,000 URLs by Zipf 0.9; `half`, p99 at half of nginx's peak
(a closed loop's p99 at saturation says little); `h2-1k` over TLS. The origin is an nginx that serves with max-age=3600.
Peers write no access log (Varnish writes its own to shared memory) without --logs.

MEASURED on 2026-11-29, two cores with builds beside (load 8), rounds of one second, the release profile without link-time
optimisation. CPU us a request, and its ratio to the floor in the same run:

                    floor    verge-edge      nginx 1.22    HAProxy 2.6
    1 KiB           13.5     21.6   1.61     29.5   2.19   22.3   1.66
      and a log     11.5     19.4   1.68     27.6   2.39      -
    304 (the floor sends 1 KiB)
                    21.2     22.8   1.08     27.7   1.31      -
    64 KiB          30.0     38.9   1.30     34.7   1.16   56.4   1.88
    1 MiB           339      435    1.28     380    1.12   648    1.91
    20,000 URLs     14.7     27.3   1.86     48.3   3.29   23.3   1.59
    Before hits were answered in the gate: 1 KiB 2.7, with a log 3.7.

WHERE THE INSTRUCTIONS GO: user instructions of one hit of 1 KiB, by callgrind (`--instr-atstart=no`, switched on by
`callgrind_control` for 2,000 requests of h2load over four connections): 16,500; 30,000 when each part of a request was
copied on its way.

    5,200  the URI, the site, normal forms and the key (`serve::handler::open`)
    4,500  the head as a map, the answer's head, metrics, clocks, and dropping what was made for the request
    1,700  the rules of HTTP (`decide::step`, `policy::select`)
    1,700  reading and writing the socket, deadlines (`serve::h1::gate`)
    1,500  reading the head (`serve::h1::gate::head`)
    1,400  tokio: the task, epoll
      500  the store
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent.parent / "target" / "dist" / "verge-edge"
TICKS = os.sysconf("SC_CLK_TCK")
ORIGIN_PORT = 5500
SIZES = {"1k": 1 << 10, "64k": 64 << 10, "1m": 1 << 20}
CASES = ["1k", "64k", "1m", "304", "zipf1k", "half"]


class Server:
    """One proxy: its command, and its ports for plain HTTP and for TLS."""

    def __init__(self, name, command, port, tls_port=None):
        self.name, self.command, self.port, self.tls_port = name, command, port, tls_port
        self.process = None

    def start(self, folder):
        log = open(folder / f"{self.name}.log", "w")
        self.process = subprocess.Popen(["taskset", "-c", "0", *self.command], stdout=log, stderr=log)
        for _ in range(300):
            try:
                # Twice: into the store, and from it.
                for size in SIZES:
                    for _ in range(2):
                        fetch(self.port, f"/{size}")
                return
            except OSError as error:
                last = error
                time.sleep(0.1)
        self.stop()
        sys.exit(f"{self.name} did not answer: {last}\n{(folder / f'{self.name}.log').read_text()[-500:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def cpu_seconds(self):
        """User and system time of it and all that it started."""
        total = 0
        for pid in descendants(self.process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except FileNotFoundError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_mb(self):
        total = 0
        for pid in descendants(self.process.pid):
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
            total += int(found.group(1)) if found else 0
        return total / 1024


def descendants(pid):
    yield pid
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return
    for task in tasks:
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except FileNotFoundError:
            continue
        for child in children:
            yield from descendants(int(child))


def fetch(port, path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read()


def write(path, text):
    path.write_text(text)
    return str(path)


def origin(folder):
    www = folder / "www"
    www.mkdir()
    for name, size in SIZES.items():
        (www / name).write_bytes(os.urandom(size))
    fresh = 'add_header Cache-Control "public, max-age=3600";'
    config = write(folder / "origin.conf", f"""
daemon off; pid {folder}/origin.pid; error_log {folder}/origin.err; user root; worker_processes 1; events {{ }}
http {{ access_log off; server {{ listen 127.0.0.1:{ORIGIN_PORT}; root {www};
  location / {{ {fresh} }}
  location /z/ {{ {fresh} default_type text/plain; return 200 "{'x' * 1024}"; }} }} }}
""")
    return subprocess.Popen(["taskset", "-c", "1", "nginx", "-p", str(folder), "-c", config])


def certificate(folder):
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", pem, "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        stderr=subprocess.DEVNULL)
    (folder / "both.pem").write_text(pem.read_text() + key.read_text())


def floor(folder):
    subprocess.check_call(["cc", "-O2", "-o", folder / "http_floor", HERE / "http_floor.c"])
    return Server("floor", [str(folder / "http_floor"), "5604"], 5604)


def ours(folder, program, logs):
    lines = f'lines = "full"\nformat = "combined"\nto = "{folder}/ours.access"' if logs else 'lines = "off"'
    config = write(folder / "ours.toml", f"""
listen = ["127.0.0.1:5610"]
listen_tls = ["127.0.0.1:5710"]
[cache]
memory = "512MiB"
[limits]
connections_per_network = 4000
[tls]
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
[log.access]
{lines}
[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{ORIGIN_PORT}"]
""")
    return Server("ours", [str(program), "serve", "--config", config], 5610, 5710)


def nginx(folder, logs):
    log = f"{folder}/nginx.access combined buffer=64k flush=1s" if logs else "off"
    config = write(folder / "nginx.conf", f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; user root; worker_processes 1;
worker_rlimit_nofile 65536; events {{ worker_connections 4096; }}
http {{ access_log {log}; sendfile on; keepalive_requests 100000000; open_file_cache max=30000;
  proxy_cache_path {folder}/nginxcache keys_zone=c:100m;
  server {{ listen 127.0.0.1:5601 backlog=4096; listen 127.0.0.1:5701 ssl http2; http2_max_requests 100000000;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{ORIGIN_PORT}; proxy_cache c; }} }} }}
""")
    return Server("nginx", ["nginx", "-p", str(folder), "-c", config], 5601, 5701)


def varnish(folder):
    vcl = write(folder / "default.vcl", f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{ORIGIN_PORT}"; }}
""")
    return Server("varnish", ["varnishd", "-F", "-a", "127.0.0.1:5602", "-f", vcl, "-n", f"{folder}/varnish", "-s",
                              "malloc,512m", "-p", "thread_pools=1"], 5602)


def haproxy(folder):
    config = write(folder / "haproxy.cfg", f"""
global
  nbthread 1
  tune.bufsize 131072
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
cache c
  total-max-size 512
  max-object-size 1500000
  max-age 3600
frontend f
  bind 127.0.0.1:5603
  bind 127.0.0.1:5703 ssl crt {folder}/both.pem alpn h2,http/1.1
  default_backend b
backend b
  http-request cache-use c
  http-response cache-store c
  server o 127.0.0.1:{ORIGIN_PORT}
""")
    return Server("haproxy", ["haproxy", "-W", "-db", "-f", config], 5603, 5703)


ZIPF = """-- paths /z/N, N by Zipf 0.9 over 20,000 (inverse of the continuous distribution)
local N, a = 20000, 0.1
local top = (N ^ a - 1)
request = function() local n = math.floor((math.random() * top + 1) ^ (1 / a)); return wrk.format("GET", "/z/" .. n) end
"""


def wrk(port, path, seconds, connections, more=()):
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more,
               f"http://127.0.0.1:{port}{path}"]
    text = subprocess.check_output(command, text=True)
    number = lambda pattern: float(found.group(1)) if (found := re.search(pattern, text)) else 0.0
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    return dict(requests=number(r"(\d+) requests in"), rate=number(r"Requests/sec:\s+([\d.]+)"),
                p99_ms=float(p99.group(1)) * {"us": 1e-3, "ms": 1, "s": 1e3}[p99.group(2)],
                bad=number(r"Non-2xx or 3xx responses: (\d+)"))


def paced(port, path, seconds, rate, folder):
    """p99 at a fixed rate, from h2load's own log of every request."""
    log, connections = folder / "paced.log", 16
    log.unlink(missing_ok=True)
    subprocess.check_output(
        ["taskset", "-c", "1", "h2load", "--h1", "-D", str(seconds), "-c", str(connections), "--rps",
         str(int(rate / connections)), "--log-file", log, f"http://127.0.0.1:{port}{path}"], stderr=subprocess.STDOUT)
    micros = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    return dict(requests=len(micros), rate=len(micros) / seconds, p99_ms=micros[int(len(micros) * 0.99)] / 1e3, bad=0)


def http2(port, path, requests, connections=16, streams=8):
    text = subprocess.check_output(
        ["taskset", "-c", "1", "h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams),
         f"https://127.0.0.1:{port}{path}"], text=True, stderr=subprocess.STDOUT)
    done = int(re.search(r"(\d+) succeeded", text).group(1))
    rate = float(re.search(r"([\d.]+) req/s", text).group(1))
    return dict(requests=done, rate=rate, p99_ms=0, bad=requests - done)


def measure(server, load):
    before = server.cpu_seconds()
    result = load()
    result["us"] = (server.cpu_seconds() - before) / max(result["requests"], 1) * 1e6
    return result


def run_case(case, server, args, folder, rows):
    if case == "zipf1k":
        script = write(folder / "zipf.lua", ZIPF)
        return measure(server, lambda: wrk(server.port, "/z/1", args.secs, args.conns, ["-s", script]))
    if case == "304":
        tag = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/1k", timeout=5).headers["etag"]
        fresh = ["-H", f"If-None-Match: {tag}"]
        return measure(server, lambda: wrk(server.port, "/1k", args.secs, args.conns, fresh))
    if case == "half":
        base = rows.get(("1k", "nginx")) or rows[("1k", server.name)]
        peak = statistics.median(row["rate"] for row in base)
        return measure(server, lambda: paced(server.port, "/1k", args.secs, peak / 2, folder))
    if case == "h2-1k":
        return measure(server, lambda: http2(server.tls_port, "/1k", 60000))
    connections = 16 if case == "1m" else args.conns
    return measure(server, lambda: wrk(server.port, f"/{case}", args.secs, connections))


def show(rows, servers):
    print(f"{'case':7} {'server':8} {'req/s':>8} {'CPU us':>8} {'x floor':>8} {'x nginx':>8} {'p99 ms':>7} {'bad':>5}")
    # The floor has no 304: an answer of 1 KiB stands for it.
    rows.update({("304", "floor"): rows[("1k", "floor")]} if ("304", "ours") in rows and ("1k", "floor") in rows else {})
    for case in dict.fromkeys(case for case, _ in rows):
        median = lambda name, key: statistics.median(row[key] for row in rows[(case, name)]) if (case, name) in rows else 0
        for server in servers:
            if (case, server.name) not in rows:
                continue
            us = median(server.name, "us")
            ratio = lambda name: f"{us / median(name, 'us'):8.2f}" if median(name, "us") else f"{'-':>8}"
            bad = sum(row["bad"] for row in rows[(case, server.name)])
            print(f"{case:7} {server.name:8} {median(server.name, 'rate'):8.0f} {us:8.1f} {ratio('floor')} {ratio('nginx')} "
                  f"{median(server.name, 'p99_ms'):7.2f} {bad:5.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=int, default=3)
    parser.add_argument("--conns", type=int, default=64)
    parser.add_argument("--only", default="floor,ours,nginx,haproxy,varnish")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--program", default=PROGRAM, help="verge-edge")
    parser.add_argument("--logs", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--folder", default="/tmp/verge-bench-edge", help="made anew")
    args = parser.parse_args()
    folder = Path(args.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    certificate(folder)
    makers = {"floor": lambda: floor(folder), "ours": lambda: ours(folder, args.program, args.logs),
              "nginx": lambda: nginx(folder, args.logs), "varnish": lambda: varnish(folder), "haproxy": lambda: haproxy(folder)}
    servers = [makers[name]() for name in args.only.split(",")]
    cases = args.cases.split(",") + (["h2-1k"] if args.tls else [])
    source, rows = origin(folder), {}
    try:
        for server in servers:
            server.start(folder)
        if "zipf1k" in cases:
            script = write(folder / "zipf.lua", ZIPF)
            for server in servers:
                wrk(server.port, "/z/1", 2 * args.secs, args.conns, ["-s", script])
        for case in cases:
            for _ in range(args.rounds):
                for server in servers:
                    if case == "h2-1k" and server.tls_port is None or case == "304" and server.name == "floor":
                        continue
                    rows.setdefault((case, server.name), []).append(run_case(case, server, args, folder, rows))
        show(rows, servers)
        print("resident MB:", ", ".join(f"{server.name} {server.resident_mb():.0f}" for server in servers))
    finally:
        for server in servers:
            if server.process:
                server.stop()
        source.terminate()
        source.wait()


main()
