#!/usr/bin/env python3
"""What a TLS handshake costs verge-edge beside nginx and HAProxy, and what a cache hit over HTTP/3 costs it beside them and Caddy.

    apt-get install -y --no-install-recommends nginx haproxy openssl
    cargo build --release --workspace --bins
    tests/bench/tls_peers.py                                       # handshakes, with Debian 12's peers
    tests/bench/tls_peers.py --newer FOLDER --caddy FILE           # and with Debian 13's, and HTTP/3
    tests/bench/tls_peers.py --only ours,nginx --keys ecdsa --cases full,resumed --rounds 5 --secs 1

Each proxy runs on core 0 with one worker and the load (`tls_load`, of rustls and quinn) on core 1, in alternating rounds; medians are
printed. CPU is that of all threads of the proxy, from /proc/PID/stat, and is the steady figure. `busy` is the part of core 0
that it took: below 100 % the load was the limit, and the proxy could do more.

Cases of handshakes, each with an ECDSA P-256 and an RSA 2048 certificate, one connection each: `full`, `resumed`
(by a ticket of the connection before; the client counts what the server has resumed), both also with TLS 1.2 (`full12`, `resumed12`) and with one
cached response of 1 KiB (`full-hit`, `resumed-hit`), and `hybrid`, a full one by X25519MLKEM768. All others use X25519, which all have.
HTTP/3: `h3-1k` and `h3-64k`, 16 connections with 8 requests at once; ours, nginx and HAProxy answer from their caches, Caddy,
which has none, from its configuration.

FOLDER has Debian 13's packages unpacked (`apt-get download` with a list of sources of its own, then `dpkg -x`): nginx, haproxy, libc6, libcrypt1,
libpcre2-8-0, libssl3t64, zlib1g, libzstd1, libcap2, liblua5.4-0, libsystemd0, libgcc-s1, libstdc++6,
libopentracing-c-wrapper0t64, libopentracing1. Debian 12's OpenSSL 3.0 has no X25519MLKEM768, its nginx and HAProxy no HTTP/3; these have both.

MEASURED on 2026-11-30, two cores with nothing else on them, the release profile. CPU us of the proxy for each connection; for
verge-edge its ratio to nginx 1.22's, too; for three of them how many there were a second:

                           verge-edge            nginx 1.22       HAProxy 2.6     nginx 1.26  HAProxy 3.0
    ECDSA  full            204   0.48   2,042    429    1,541     568    1,388    450         492
           resumed         189   0.50   2,287    375    2,066     425    1,856    366         455
           full, a hit     269   0.52   3,322    522    1,787     595    1,579    478         589
           resumed, a hit  213   0.52   4,272    414    2,261     460    2,031    441         465
           hybrid          245   0.45   3,048      -                -             539         614     Caddy 2.11: 420
    RSA    full            875   0.80   1,048   1,100      837  1,160      763      -           -
           resumed         173   0.48   2,696    360    2,401     412    1,750      -           -
    TLS 1.2, in a shorter run beside other work
    ECDSA  full            192   0.59   1,832    328    1,418     395    1,168      -           -
           resumed          95   0.65   4,454    146    2,833     202    2,203      -           -
    The hybrid's ratio is to nginx 1.26: it costs the edge some 40 us more than X25519. Where nothing is asked behind the handshake the
    load was the limit: the edge was busy for 44 % of the time, nginx for 66 to 77 %. So how many a second it could make is
    told by `a hit`, where each was busy for 90 %. 99 % were resumed, all but the first of each client.

    HTTP/3, on 2026-12-01, the release profile, medians of five rounds. CPU us a request, its ratio to nginx's in the same run, and
    requests a second:
                           verge-edge            nginx 1.26
            1 KiB           3.0  0.63 211,000     4.8 150,000
            64 KiB         48.3  1.00  12,600    48.3  11,500
    Beside other work and without link-time optimisation, against the edge that had a task for each hit (`before`):
                           verge-edge            before           nginx 1.26
            1 KiB           4.2  0.76  98,800    23.7  25,800     5.5  76,100
            64 KiB         71.7  1.26   6,600    81.7   6,100    56.7   7,300
    On 2026-11-30, with nothing else on the cores, that edge took 36.8 and 143, nginx 12.7 and 125, HAProxy 3.0 14.5 and 342, Caddy 2.11
    49.8 and 203. The goal for HTTP/3 is nginx's, and both meet it. 10,000 answers of 1 KiB take
    2,072 system calls that send (`strace -c`), since all requests that have come are answered before quinn sends; 11,017 before,
    one for each answer. An answer of 64 KiB takes five: quinn sends ten packets at once, and its work for each packet is most of
    the rest.
"""
import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edge_peers import ORIGIN_PORT, Server, origin, write

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent.parent / "target" / "release"
HANDSHAKES = {
    "full": [], "resumed": ["--resume"], "full12": ["--tls", "1.2"], "resumed12": ["--tls", "1.2", "--resume"],
    "full-hit": ["--ask", "/1k"], "resumed-hit": ["--resume", "--ask", "/1k"], "hybrid": ["--hybrid"],
}
HTTP3 = {"h3-1k": ("/1k", 1 << 10, 60_000), "h3-64k": ("/64k", 64 << 10, 6_000)}
KEYS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}


def certificate(folder, kind):
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-keyout", key, "-out", pem, "-days", "30", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], stderr=subprocess.DEVNULL)
    (folder / "both.pem").write_text(pem.read_text() + key.read_text())


def ours(folder, program):
    config = write(folder / "ours.toml", f"""
listen = ["127.0.0.1:5610"]
listen_tls = ["127.0.0.1:5710"]
listen_quic = ["127.0.0.1:5710"]
[limits]
connections_per_network = 4000
[tls]
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
[log.access]
lines = "off"
[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{ORIGIN_PORT}"]
""")
    return Server("ours", [str(program), "serve", "--config", config], 5610, 5710)


def newer(folder, program):
    """A program of Debian 13, with its own libraries."""
    libraries = folder / "usr/lib/x86_64-linux-gnu"
    return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(folder / "usr/sbin" / program)]


def nginx(folder, name, command, port, has_http3):
    quic = f"listen 127.0.0.1:{port + 100} quic reuseport; quic_gso on;" if has_http3 else ""
    config = write(folder / f"{name}.conf", f"""
daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.err; user root; worker_processes 1;
worker_rlimit_nofile 65536; events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; open_file_cache max=30000; sendfile on; ssl_protocols TLSv1.2 TLSv1.3;
  proxy_cache_path {folder}/{name}cache keys_zone=c:100m; client_body_temp_path {folder}/{name}1; proxy_temp_path {folder}/{name}2;
  fastcgi_temp_path {folder}/{name}3; uwsgi_temp_path {folder}/{name}4; scgi_temp_path {folder}/{name}5;
  server {{ listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{port + 100} ssl backlog=4096; {quic}
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{ORIGIN_PORT}; proxy_cache c; }} }} }}
""")
    return Server(name, [*command, "-p", str(folder), "-c", config], port, port + 100)


def haproxy(folder, name, command, port, has_http3):
    quic = f"bind quic4@127.0.0.1:{port + 100} ssl crt {folder}/both.pem alpn h3" if has_http3 else ""
    config = write(folder / f"{name}.cfg", f"""
global
  nbthread 1
  tune.bufsize 131072
  {"limited-quic" if has_http3 else ""}
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
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{port + 100} ssl crt {folder}/both.pem alpn h2,http/1.1
  {quic}
  default_backend b
backend b
  http-request cache-use c
  http-response cache-store c
  server o 127.0.0.1:{ORIGIN_PORT}
""")
    return Server(name, [*command, "-db", "-f", config], port, port + 100)


def caddy(folder, program):
    routes = lambda: "\n".join(f'respond /{name} "{"x" * size}"' for name, size in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)])
    config = write(folder / "Caddyfile", f"""
{{
  admin off
  auto_https off
}}
http://127.0.0.1:5620 {{
  {routes()}
}}
https://localhost:5720 {{
  tls {folder}/cert.pem {folder}/key.pem
  {routes()}
}}
""")
    return Server("caddy", ["env", f"HOME={folder}", str(program), "run", "--config", config, "--adapter", "caddyfile"], 5620, 5720)


def load(program, *arguments):
    text = subprocess.check_output(["taskset", "-c", "1", program, *map(str, arguments)], text=True)
    number = lambda name: float(re.search(rf"{name}=([\d.]+)", text).group(1))
    groups, faults = re.search(r"groups=\{(.*)\} faults=\{(.*)\}", text).groups()
    return dict(done=number("done"), resumed=number("resumed"), secs=number("secs"), groups=groups, faults=faults)


def run_case(case, server, args):
    address = f"127.0.0.1:{server.tls_port}"
    before = server.cpu_seconds()
    if case in HTTP3:
        path, size, requests = HTTP3[case]
        row = load(args.load, "http3", address, "--path", path, "--size", size, "--requests", requests)
    else:
        row = load(args.load, "handshakes", address, "--secs", args.secs, *HANDSHAKES[case])
        # The end of the last connections is the proxy's to handle.
        time.sleep(0.2)
    cpu = server.cpu_seconds() - before
    count = max(row["done"], 1)
    if row["faults"] or not row["done"] or "resumed" in case and row["resumed"] < 0.95 * count:
        print(f"{case} {server.name}: {row}", file=sys.stderr)
    return dict(us=cpu / count * 1e6, rate=count / row["secs"], busy=cpu / row["secs"], resumed=row["resumed"] / count, groups=row["groups"])


def show(kind, rows, servers):
    print(f"{kind:6} {'case':12} {'server':10} {'per s':>8} {'CPU us':>8} {'x nginx':>8} {'busy':>6} {'resumed':>8}  keys by")
    for case in dict.fromkeys(case for case, _ in rows):
        median = lambda name, key: statistics.median(row[key] for row in rows[(case, name)])
        for server in servers:
            if (case, server.name) not in rows:
                continue
            us, nginx = median(server.name, "us"), next((peer for peer in ("nginx", "nginx13") if (case, peer) in rows), server.name)
            group = re.sub(r": \d+|\"", "", rows[(case, server.name)][-1]["groups"])
            print(f"{kind:6} {case:12} {server.name:10} {median(server.name, 'rate'):8.0f} {us:8.1f} {us / median(nginx, 'us'):8.2f} "
                  f"{median(server.name, 'busy'):6.0%} {median(server.name, 'resumed'):8.1%}  {group}", flush=True)


def makers(folder, args):
    made = {"ours": lambda: ours(folder, args.program), "nginx": lambda: nginx(folder, "nginx", ["nginx"], 5601, False),
            "haproxy": lambda: haproxy(folder, "haproxy", ["haproxy"], 5603, False)}
    if args.newer:
        made["nginx13"] = lambda: nginx(folder, "nginx13", newer(args.newer, "nginx"), 5605, True)
        made["haproxy13"] = lambda: haproxy(folder, "haproxy13", newer(args.newer, "haproxy"), 5607, True)
    if args.caddy:
        made["caddy"] = lambda: caddy(folder, args.caddy)
    return made


def has(server, case):
    """Whether the server can be asked that."""
    if case in HTTP3:
        return server.name not in ("nginx", "haproxy")
    return server.name not in ("nginx", "haproxy") if case == "hybrid" else server.name != "caddy"


def measure(kind, folder, args):
    certificate(folder, kind)
    made = makers(folder, args)
    servers = [made[name]() for name in (args.only.split(",") if args.only else made)]
    cases = args.cases.split(",") if args.cases else [*HANDSHAKES, *HTTP3]
    rows = {}
    try:
        for server in servers:
            server.start(folder)
        for case in cases:
            for _ in range(args.rounds):
                for server in servers:
                    if has(server, case):
                        rows.setdefault((case, server.name), []).append(run_case(case, server, args))
        show(kind, rows, servers)
    finally:
        for server in servers:
            if server.process:
                server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=1)
    parser.add_argument("--only", help="ours,nginx,haproxy,nginx13,haproxy13,caddy; default: all that there are")
    parser.add_argument("--cases", help="default: all")
    parser.add_argument("--keys", default=",".join(KEYS))
    parser.add_argument("--program", default=BUILT / "verge-edge")
    parser.add_argument("--load", default=BUILT / "tls_load")
    parser.add_argument("--newer", type=Path, help="Debian 13's packages, unpacked")
    parser.add_argument("--caddy", type=Path, help="the program")
    parser.add_argument("--folder", default="/tmp/verge-bench-tls", type=Path, help="made anew")
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    args.folder.chmod(0o777)
    source = origin(args.folder)
    try:
        for kind in args.keys.split(","):
            measure(kind, args.folder, args)
    finally:
        source.terminate()
        source.wait()


if __name__ == "__main__":
    main()
