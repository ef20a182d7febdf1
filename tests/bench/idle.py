#!/usr/bin/env python3
"""What an idle connection costs in memory: verge-edge beside nginx, by HTTP/1.1 with and without TLS.

    apt-get install -y --no-install-recommends nginx openssl
    tests/bench/idle.py --program target/release/verge-edge [--count 10000]

Each server gets `count` connections from 127.0.0.2 to 127.0.0.11; each of these asks for one page of 1 KiB, which is stored, and then
waits. Printed is the resident memory of the server and all its processes before and after, and the difference for one connection.
The kernel's socket buffers are not in it. Loopback only; everything it starts ends with it.
"""
import argparse
import os
import pathlib
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ORIGIN, OURS, OURS_TLS, NGINX, NGINX_TLS = 5800, 5801, 5802, 5803, 5804
REQUEST = b"GET /page HTTP/1.1\r\nHost: site.test\r\n\r\n"


def start(*command, log):
    return subprocess.Popen(command, stdout=log, stderr=log)


def wait_for(port):
    for _ in range(300):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing answers on port {port}")


def resident_kib(pid):
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{one}/status").read_text()).group(1))
        todo += map(int, pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return total


def connect(port, number, terms):
    sock = socket.socket()
    sock.bind((f"127.0.0.{2 + number % 10}", 0))
    sock.settimeout(30)
    sock.connect(("127.0.0.1", port))
    if terms:
        sock = terms.wrap_socket(sock, server_hostname="site.test")
    sock.sendall(REQUEST)
    got = b""
    while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < 1024:
        piece = sock.recv(4096)
        if not piece:
            sys.exit(f"connection {number} to port {port} ended: {got[:200]}")
        got += piece
    return sock


def measure(name, process, port, terms, count):
    for number in range(20):
        connect(port, number, terms).close()
    before = resident_kib(process.pid)
    held = [connect(port, number, terms) for number in range(count)]
    after = resident_kib(process.pid)
    print(f"{name:24} {before / 1024:8.1f} MiB {after / 1024:8.1f} MiB {(after - before) * 1024 / count:10.0f} bytes each", flush=True)
    for sock in held:
        sock.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--count", type=int, default=10_000)
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < args.count + 1000:
        sys.exit(f"{most} descriptors may be open (ulimit -Hn), which is too few for {args.count} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    log, processes = open(folder / "log", "w"), []
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem", "-out",
         folder / "cert.pem", "-days", "2", "-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test"], stderr=log)
    (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; user root; worker_processes 2; worker_rlimit_nofile {most};
events {{ worker_connections {2 * args.count}; }}
http {{ access_log off; keepalive_timeout 600s; proxy_cache_path {folder}/cache keys_zone=c:10m; ssl_session_tickets off;
  server {{ listen 127.0.0.1:{ORIGIN}; location / {{ add_header Cache-Control "max-age=3600"; return 200 "{'x' * 1024}"; }} }}
  server {{ listen 127.0.0.1:{NGINX} backlog=4096; listen 127.0.0.1:{NGINX_TLS} ssl backlog=4096;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{ORIGIN}; proxy_cache c; }} }} }}
""")
    (folder / "edge.toml").write_text(f"""
listen = ["127.0.0.1:{OURS}"]
listen_tls = ["127.0.0.1:{OURS_TLS}"]
[limits]
connections = {2 * args.count}
connections_per_network = {2 * args.count}
idle_timeout = "10m"
[tls]
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
[log.access]
lines = "off"
[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{ORIGIN}"]
""")
    terms = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    terms.load_verify_locations(folder / "cert.pem")
    try:
        for name, command, ports in [
            ("nginx", ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf"], (NGINX, NGINX_TLS)),
            ("verge-edge", [args.program, "serve", "--config", f"{folder}/edge.toml"], (OURS, OURS_TLS)),
        ]:
            processes.append(start(*command, log=log))
            for port, kind in zip(ports, ("HTTP/1.1", "HTTP/1.1, TLS 1.3")):
                wait_for(port)
                measure(f"{name}, {kind}", processes[-1], port, terms if "TLS" in kind else None, args.count)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
