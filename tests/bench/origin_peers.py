#!/usr/bin/env python3
"""What a proxied miss and a passed connection cost verge-edge, beside nginx and HAProxy, on the same core.

    apt-get install -y --no-install-recommends nginx libnginx-mod-stream haproxy wrk openssl
    cargo build --profile dist -p verge-edge
    tests/bench/origin_peers.py                                # all tables below
    tests/bench/origin_peers.py --groups http,https --only ours,nginx --cases 1k --secs 1 --rounds 9
    tests/bench/origin_peers.py --groups l4                    # layer 4 only
    tests/bench/origin_peers.py --before OLD/verge-edge        # beside another build of it, in the same rounds

Each proxy runs on core 0; its origin (nginx) and the load (wrk) run on core 1, in alternating rounds. Medians of the CPU time that the
proxy takes are printed, with the least and the most. The origin says no-store, so every request is a miss that nobody may keep. All
proxies keep their connections to it, verify its certificate over HTTPS (TLS 1.3, HTTP/1.1), and write no access log. `nginx` has
its own buffers of 4 KiB and no temporary files, `nginx-64k` has larger ones; `haproxy-sp` has `option splice-auto`. 64 clients ask
for 1 and 64 KiB, 16 for 1 MiB.

Layer 4: `bytes` is CPU time for one MiB of files of 64 MiB that eight connections take, and throw away in the kernel; `short` is CPU
time for one connection of one request of 1 KiB.

MEASURED on 2026-12-01, two quiet cores, three rounds of one second, the release profile. CPU us, and the ratio to nginx's:

                    verge-edge       nginx   HAProxy
    HTTP, 1 KiB      37.1  3.77        9.8     10.6
          64 KiB     55.8  1.81       30.9     22.9
          1 MiB     528.4  1.49      355.4    399.0
    HTTPS, 1 KiB     39.7  3.38       11.7     12.5
          64 KiB     62.6  0.91       69.1     50.5
          1 MiB     707.1  1.02      696.0    727.0
    layer 4, a MiB  338.8  0.32     1067.8    585.9
      a connection   37.5  1.26       29.7     31.3

Before the fetch of a request that goes apart lost its own task, 1 KiB took a tenth more than after it, and 64 KiB a fifth (in one
run beside other work: 50.5 and 46.1 us, 68.0 and 55.5).

The goals are nginx's for misses and the best of theirs at layer 4. Bytes at layer 4 reach it: 0.58 of the best peer's. So do misses of
64 KiB over HTTPS, and all but 2 % those of 1 MiB. Those over HTTP cost 1.5 to 3.8 times nginx's, and a short connection 1.26 times.

WHERE THE TIME GOES: a miss takes four calls of the system, like nginx's, which are two fifths of it. callgrind counts 120,500 user
instructions for one of 1 KiB over eight connections (a hit takes 5,600). They were 163,600: 54,600 copied futures and answers, 23,200 now;
a copy of a large one counts an instruction a byte there, and takes less in time. The rest is spread over many functions, and over two
tasks (the client's, the origin connection's) that hand each head on. The first fetch for a key has a third, as others may follow it. Of a
short connection 86 % of the time is the kernel's; verge-edge waits for the client's end before it closes, as a half-closed
connection may still carry bytes, which nginx does not.
"""
import argparse
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edge_peers import PROGRAM, Server, certificate, descendants, measure, wrk, write

ORIGIN, ORIGIN_TLS = 5800, 5801
SIZES = {"1k": 1 << 10, "64k": 64 << 10, "1m": 1 << 20}
LARGE = 64 << 20
GROUPS = {"http": list(SIZES), "https": list(SIZES), "l4": ["bytes", "short"]}
POOL = 256  # idle connections to the origin that each proxy may keep


class Proxy(Server):
    """A proxy that is ready when it has answered once."""

    def start(self, folder):
        log = folder / f"{self.name}.log"
        with open(log, "w") as out:
            self.process = subprocess.Popen(["taskset", "-c", "0", *self.command], stdout=out, stderr=out)
        for _ in range(300):
            try:
                return download([self.port], "/1k", 1 << 10)
            except OSError as error:
                last = error
                time.sleep(0.1)
        self.stop()
        sys.exit(f"{self.name} did not answer: {last}\n{log.read_text()[-500:]}")

    def cpu_seconds(self):
        """What the scheduler counted for all its threads, in nanoseconds: rounds are short."""
        tasks = (task for pid in descendants(self.process.pid) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def origin(folder):
    """nginx on the load's core; whatever it sends must not be stored."""
    www = folder / "www"
    www.mkdir()
    for name, size in (SIZES | {"large": LARGE}).items():
        (www / name).write_bytes(os.urandom(size))
    config = write(folder / "origin.conf", f"""
daemon off; pid {folder}/origin.pid; error_log {folder}/origin.err; user root; worker_processes 1; events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=100;
  server {{ listen 127.0.0.1:{ORIGIN} backlog=4096; listen 127.0.0.1:{ORIGIN_TLS} ssl backlog=4096; root {www};
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.3;
    location / {{ add_header Cache-Control no-store; }} }} }}
""")
    return subprocess.Popen(["taskset", "-c", "1", "nginx", "-p", str(folder), "-c", config])


def ours(folder, group, program, name="ours", port=5810):
    url = {"http": f"http://127.0.0.1:{ORIGIN}", "https": f"https://127.0.0.1:{ORIGIN_TLS}"}
    site = f"""[[site]]
hosts = ["*"]
origins = ["{url.get(group)}"]
origin_roots = "{folder}/cert.pem"
"""
    stream = f"""[[stream]]
listen = ["127.0.0.1:{port}"]
origins = ["tcp://127.0.0.1:{ORIGIN}"]
"""
    listen = f'listen = ["127.0.0.1:{port}"]\n' if group != "l4" else ""
    config = write(folder / f"{name}-{group}.toml", f"""{listen}[limits]
connections_per_network = 4000
[log]
level = "warn"
[log.access]
lines = "off"
{stream if group == "l4" else site}""")
    return Proxy(name, [str(program), "serve", "--config", config], port)


def nginx(folder, group, name, port, buffers=""):
    """`buffers`: its own are 4 KiB each."""
    head = f"""daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.err; user root; worker_processes 1;
worker_rlimit_nofile 65536; events {{ worker_connections 4096; }}"""
    if group == "l4":
        body = f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
{head} stream {{ {buffers} server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass 127.0.0.1:{ORIGIN}; }} }}"""
    else:
        scheme, upstream = ("http", ORIGIN) if group == "http" else ("https", ORIGIN_TLS)
        tls = f"""proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {folder}/cert.pem;
  proxy_ssl_name localhost; proxy_ssl_server_name on;"""
        body = f"""{head} http {{ access_log off; keepalive_requests 100000000; proxy_max_temp_file_size 0; {buffers}
  upstream o {{ server 127.0.0.1:{upstream}; keepalive {POOL}; keepalive_requests 100000000; }}
  {tls if group == "https" else ""}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass {scheme}://o; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}"""
    return Proxy(name, ["nginx", "-p", str(folder), "-c", write(folder / f"{name}-{group}.conf", body)], port)


def haproxy(folder, group, name, port, options=""):
    tls = f"ssl verify required ca-file {folder}/cert.pem verifyhost localhost sni str(localhost) ssl-min-ver TLSv1.3"
    config = write(folder / f"{name}-{group}.cfg", f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode {"tcp" if group == "l4" else "http"}
  {"" if group == "l4" else "http-reuse always"}
  {options}
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend b
backend b
  server o 127.0.0.1:{f"{ORIGIN_TLS} {tls}" if group == "https" else ORIGIN}
""")
    return Proxy(name, ["haproxy", "-W", "-db", "-f", config], port)


def makers(folder, group, program, before):
    large = "proxy_buffer_size 64k;" if group == "l4" else "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"
    return {"ours": lambda: ours(folder, group, program),
            "before": lambda: ours(folder, group, before, "before", 5811),
            "nginx": lambda: nginx(folder, group, "nginx", 5820),
            "nginx-64k": lambda: nginx(folder, group, "nginx-64k", 5821, large),
            "haproxy": lambda: haproxy(folder, group, "haproxy", 5830),
            "haproxy-sp": lambda: haproxy(folder, group, "haproxy-sp", 5831, "option splice-auto")}


def download(ports, path, size, seconds=0.0):
    """Takes this path over one connection of each port, again and again until time is over, and throws it away in the kernel
    (MSG_TRUNC, tcp(7)). Returns the bytes."""
    asked, selector, left, total = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), selectors.DefaultSelector(), {}, 0
    end = time.monotonic() + seconds
    for port in ports:
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        client.sendall(asked)
        head = b""
        while b"\r\n\r\n" not in head:
            got = client.recv(1)
            if not got:
                raise OSError("closed in the head")
            head += got
        if b" 200 " not in head:
            raise OSError(head)
        left[client] = size
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ)
    buffer, head_bytes = bytearray(1 << 20), len(head)
    while left:
        for key, _ in selector.select(5):
            client = key.fileobj
            got = client.recv_into(buffer, 1 << 20, socket.MSG_TRUNC)
            if not got:
                raise OSError("closed in the body")
            left[client], total = left[client] - got, total + got
            if left[client] == 0 and time.monotonic() < end:
                client.sendall(asked)
                left[client] = head_bytes + size
            elif left[client] == 0 or time.monotonic() > end + 1:
                selector.unregister(client)
                client.close()
                del left[client]
    return total


def load(case, server, args):
    """One round: `us` is CPU time for one request, for one connection, or for one MiB."""
    if case == "bytes":
        os.sched_setaffinity(0, {1})
        mib = lambda: download([server.port] * args.streams, "/large", LARGE, args.secs) / (1 << 20)
        timed = lambda begun: dict(requests=mib(), bad=0) | dict(secs=time.monotonic() - begun)
        row = measure(server, lambda: timed(time.monotonic()))
        return row | dict(rate=row["requests"] / row["secs"])
    more = ["-H", "Connection: close"] if case == "short" else []
    connections = 16 if case in ("1m", "short") else args.conns
    return measure(server, lambda: wrk(server.port, "/1k" if case == "short" else f"/{case}", args.secs, connections, more))


def show(group, rows):
    unit = {"l4": "CPU us a MiB or a connection"}.get(group, "CPU us a request")
    print(f"\n{group}: {unit}\n{'case':6} {'server':10} {'a second':>9} {'CPU us':>8} {'x nginx':>8} {'least':>8} {'most':>8} {'bad':>5}")
    for (case, name), found in rows.items():
        median = lambda of, key="us": statistics.median(row[key] for row in rows[(case, of)])
        us = [row["us"] for row in found]
        ratio = f"{median(name) / median('nginx'):8.2f}" if (case, "nginx") in rows else f"{'-':>8}"
        print(f"{case:6} {name:10} {median(name, 'rate'):9.0f} {median(name):8.1f} {ratio} {min(us):8.1f} {max(us):8.1f} "
              f"{sum(row['bad'] for row in found):5.0f}", flush=True)


def run_group(group, args, folder):
    known, rows = makers(folder, group, args.program, args.before), {}
    names = args.only.split(",") + (["before"] if args.before else [])
    servers = [known[name]() for name in names]
    try:
        for server in servers:
            server.start(folder)
        for case in GROUPS[group]:
            if args.cases and case not in args.cases.split(","):
                continue
            for server in servers:
                load(case, server, argparse.Namespace(**vars(args) | dict(secs=1)))  # pools and tables fill
            for _ in range(args.rounds):
                for server in servers:
                    rows.setdefault((case, server.name), []).append(load(case, server, args))
        show(group, rows)
    finally:
        for server in servers:
            if server.process:
                server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--cases", default="", help="of those of the groups; default: all")
    parser.add_argument("--only", default="ours,nginx,nginx-64k,haproxy,haproxy-sp")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=int, default=1)
    parser.add_argument("--conns", type=int, default=64)
    parser.add_argument("--streams", type=int, default=8, help="connections that download at once at layer 4")
    parser.add_argument("--program", default=PROGRAM, help="verge-edge")
    parser.add_argument("--before", help="another verge-edge, to compare with")
    parser.add_argument("--folder", default="/tmp/verge-bench-origin", help="made anew")
    args = parser.parse_args()
    folder = Path(args.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    certificate(folder)
    source = origin(folder)
    try:
        for group in args.groups.split(","):
            run_group(group, args, folder)
    finally:
        source.terminate()
        source.wait()


if __name__ == "__main__":
    main()
