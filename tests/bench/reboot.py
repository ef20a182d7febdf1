#!/usr/bin/env python3
"""How many requests an origin gets in the first minute after one of three edges was rebooted, beside those for an edge that is cold.

    apt-get install -y --no-install-recommends nginx wrk
    tests/bench/reboot.py --program target/release/verge-edge

Three edges have a disk each and get the same load: 20,000 URLs of 10 KiB by Zipf 0.9, paced. Once they are warm, the first is killed (`kill
-9`) and started again, and gets its third of the load from then on, as from a balancer that saw its port open. Then the same edge
is started over an empty disk. Told are the origin's requests of that edge in the minute after its start, and those of the two others.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ORIGIN, FIRST_EDGE = 5540, 5541
URLS, BYTES = 20_000, 10 << 10
ZIPF = """-- paths /o/N, N by Zipf 0.9 (inverse of the continuous distribution); each of 16 connections rests between two requests
local N, a = %d, 0.1
local top = (N ^ a - 1)
function init() math.randomseed(os.time() + %d) end
function delay() return %d end
request = function() return wrk.format("GET", "/o/" .. math.floor((math.random() * top + 1) ^ (1 / a))) end
"""


def write(path, text):
    path.write_text(text)
    return str(path)


def origin(folder):
    (folder / "www").mkdir()
    (folder / "www" / "object").write_bytes(os.urandom(BYTES))
    config = write(folder / "origin.conf", f"""
daemon off; pid {folder}/origin.pid; error_log {folder}/origin.err; user root; worker_processes 1; events {{ }}
http {{ access_log off; keepalive_requests 100000000; server {{ listen 127.0.0.1:{ORIGIN}; root {folder}/www;
  location /o/ {{ add_header Cache-Control "public, max-age=86400"; rewrite ^ /object break; }} }} }}
""")
    return subprocess.Popen(["nginx", "-p", str(folder), "-c", config])


class Edge:
    def __init__(self, folder, program, number):
        self.folder, self.program = folder / str(number), program
        self.port, self.admin = FIRST_EDGE + 2 * number, FIRST_EDGE + 2 * number + 1
        self.folder.mkdir()
        write(self.folder / "edge.toml", f"""
listen = ["127.0.0.1:{self.port}"]
[admin]
listen = "127.0.0.1:{self.admin}"
[cache]
memory = "32MiB"
disk = {{ path = "cache", size = "1GiB", write_rate = "1GiB" }}
[limits]
connections_per_network = 4000
[log.access]
lines = "off"
[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{ORIGIN}"]
""")

    def start(self):
        log = open(self.folder / "log", "a")
        self.process = subprocess.Popen([self.program, "serve", "--config", "edge.toml"], cwd=self.folder, stdout=log, stderr=log)
        for _ in range(2_000):
            try:
                return self.origin_requests()
            except OSError:
                time.sleep(0.01)
        sys.exit((self.folder / "log").read_text()[-1500:])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def origin_requests(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30).read().decode()
        return sum(int(value) for value in re.findall(r"^verge_edge_origin_requests_total(?:{[^}]*})? (\d+)$", text, re.M))


def load(edge, folder, seconds, rate):
    script = write(folder / f"load{edge.port}.lua", ZIPF % (URLS, edge.port, 16_000 / rate))
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{edge.port}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(running):
    text = running.communicate()[0]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return int(re.search(r"(\d+) requests in", text)[1]), int(bad[1]) if bad else 0


def minute(edges, folder, rate, seconds, what):
    before = [edges[0].start(), *(edge.origin_requests() for edge in edges[1:])]
    loads = [ended(running) for running in [load(edge, folder, seconds, rate) for edge in edges]]
    fetched = [edge.origin_requests() - old for edge, old in zip(edges, before)]
    (asked, bad), others = loads[0], fetched[1:]
    print(f"{what:9} {asked:7} requests, {bad} failed; {fetched[0]:6} went to the origin ({fetched[0] / asked:.2%}); the others': {others}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="verge-edge")
    parser.add_argument("--rate", type=int, default=800, help="requests a second for each edge")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--warm", type=int, default=60, help="seconds of load before")
    parser.add_argument("--folder", default="/var/tmp/verge-bench-reboot", help="made anew, and removed")
    args = parser.parse_args()
    folder, program = Path(args.folder), str(Path(args.program).resolve())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    edges, server = [], origin(folder)
    try:
        edges = [Edge(folder, program, number) for number in range(3)]
        for edge in edges:
            edge.start()
        for running in [load(edge, folder, args.warm, args.rate) for edge in edges]:
            ended(running)
        edges[0].kill()
        minute(edges, folder, args.rate, args.seconds, "rebooted")
        edges[0].kill()
        shutil.rmtree(edges[0].folder / "cache")
        minute(edges, folder, args.rate, args.seconds, "cold")
    finally:
        for edge in edges:
            if edge.process.poll() is None:
                edge.kill()
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
