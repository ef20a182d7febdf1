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
(a closed loop's p99 at saturation says little); `h2-1k` and `h2-64k` over TLS. The origin is an nginx that serves with max-age=3600.
Peers write no access log (Varnish writes its own to shared memory) without --logs.

MEASURED on 2026-11-30, two cores with nothing else on them, rounds of one second, the release profile without link-time
optimisation. CPU us a request, and its ratio to the floor in the same run:

                    floor    verge-edge     nginx 1.22    HAProxy 2.6   Varnish 7.1
    1 KiB            7.9      8.7   1.11    19.8   2.50   13.6   1.73   31.7   4.01
      and a log      7.9      9.0   1.14    21.5   2.71     -             -
    304 (the floor sends 1 KiB)
                     7.9      8.6   1.09    12.2   1.54     -           30.1   3.81
    20,000 URLs      8.6     12.9   1.51    25.3   2.96   15.7   1.84   32.2   3.77
    64 KiB          16.8     20.5   1.22    27.8   1.65   30.8   1.83   39.6   2.35
    1 MiB          193.1    189.3   0.98   255.4   1.32  472.7   2.45  222.6   1.15
    at half of nginx's peak, p99 ms
                    1.00     0.59           0.85          0.57          1.72
    HTTP/2, 1 KiB     -      15.2           19.2           9.3            -      (35.0 when each hit had a task)
            64 KiB    -      107            104            99             -
    In a second run 64 KiB was 1.20, 20,000 URLs 1.44. Two workers at twice the rate took 1.06 of one's CPU a request.
    The goals are 1.3, 1.5, 1.4, 1.35, 1.2 and 1.05 times the floor, and p99 1.2 times: 20,000 URLs miss theirs by 0.09 to
    0.16, 64 KiB by 0.02 or not, and HTTP/2 is to cost no more than HAProxy's. The floor sends one buffer for all URLs: a part of the 4 us that many URLs
    cost are cache lines of 20 MB of objects; 5,400 instructions are their URIs and keys. h2 and its HPACK take two thirds of a hit
    over HTTP/2.

WHERE THE INSTRUCTIONS GO: user instructions of a hit, by callgrind (`--instr-atstart=no`, switched on by `callgrind_control` for
2,000 requests of h2load over four connections): docs/measure.md has the table. One of 1 KiB over HTTP/1.1 takes 5,600: a third
are the socket and tokio, a third counters, clocks and deadlines, the rest looks up what was read and decided before. Over HTTP/2
it takes 37,000 (119,000 when each had a task), of which h2, HPACK and TLS take 30,000.
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
    if case.startswith("h2-"):
        return measure(server, lambda: http2(server.tls_port, f"/{case[3:]}", 60000 if case == "h2-1k" else 10000))
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
    cases = args.cases.split(",") + (["h2-1k", "h2-64k"] if args.tls else [])
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
                    if case.startswith("h2-") and server.tls_port is None or case == "304" and server.name == "floor":
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


if __name__ == "__main__":
    main()
