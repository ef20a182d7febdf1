#!/usr/bin/env python3
"""How soon a full disk tier is there after a start, and what a hit from it costs beside nginx's and Varnish's.

    apt-get install -y --no-install-recommends nginx varnish wrk
    tests/bench/disk_start.py --program target/release/verge-edge --files 1000000
    tests/bench/disk_start.py --program target/release/verge-edge --files 100000 --hits     # and the peers

An nginx is the origin of objects of 10 KiB, wrk asks the edge for each, and the edge keeps them on its disk: 12 KiB each, so that a
million takes 12 GB. Where that is too much for the machine, `--real 5000` has so many written; the journal then gets records of as many
more as `--files` says, whose files are not there: the index does not look at files, so it comes as soon and is as large. Then the edge is started again, after a clean stop and after `kill -9`, with the journal out of the
page cache (`posix_fadvise`; the rest of the machine keeps its own). Told are the times from the start of the process: until it
takes connections; until the first hit from the disk, asked for without a pause by `only-if-cached`; until the whole index is there.

--hits: CPU of a request, all of objects that are read from files in the page cache: the edge's memory holds a fortieth of them; nginx's
cache has none of its own; Varnish's `file` storage is a mapped file. Each server on core 0 and wrk on core 1, by turns, medians.

The folder is removed at the end, with all in it.
"""
import argparse
import http.client
import os
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

ORIGIN, EDGE, ADMIN, NGINX, VARNISH = 5520, 5521, 5522, 5523, 5524
BYTES = 10 << 10
# Of a journal (edge/src/store/disk/record.rs).
RECORD, PUT, STOPPED = 64, 2, 10
TICKS = os.sysconf("SC_CLK_TCK")
# Each thread of wrk has every second number, and ends with the last.
ONCE = """
threads = 0
function setup(thread) thread:set("own", threads); threads = threads + 1 end
function init() n = own + %d end
function request() n = n + 2; if n >= %d then n = %d + own end; return wrk.format("GET", "/o/" .. n) end
"""
ANY = """
function init() math.randomseed(os.time()) end
function request() return wrk.format("GET", "/o/" .. math.random(0, %d)) end
"""


def write(path, text):
    path.write_text(text)
    return str(path)


def origin(folder):
    (folder / "www").mkdir()
    (folder / "www" / "object").write_bytes(os.urandom(BYTES))
    config = write(folder / "origin.conf", f"""
daemon off; pid {folder}/origin.pid; error_log {folder}/origin.err; user root; worker_processes 1;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; open_file_cache max=10; server {{ listen 127.0.0.1:{ORIGIN}; root {folder}/www;
  location /o/ {{ add_header Cache-Control "public, max-age=864000"; rewrite ^ /object break; }} }} }}
""")
    return subprocess.Popen(["nginx", "-p", str(folder), "-c", config])


class Edge:
    """verge-edge over one disk."""

    def __init__(self, folder, program, files, memory):
        self.folder, self.program = folder, program
        size = files * 12 * 1024 * 21 // 20 + (64 << 20)
        self.config = write(folder / "edge.toml", f"""
listen = ["127.0.0.1:{EDGE}"]
run_folder = "{folder}/run"
[admin]
listen = "127.0.0.1:{ADMIN}"
token_file = "{folder}/token"
[cache]
memory = "{memory}"
disk = {{ path = "{folder}/cache", size = "{size}B", files = {files * 21 // 20 + 1000}, write_rate = "4GiB" }}
[limits]
connections_per_network = 4000
[log.access]
lines = "off"
[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{ORIGIN}"]
""")

    def start(self, core=None):
        pin = [] if core is None else ["taskset", "-c", str(core)]
        log = open(self.folder / "edge.log", "a")
        self.began = time.monotonic()
        self.process = subprocess.Popen([*pin, self.program, "serve", "--config", self.config], stdout=log, stderr=log)

    def stop(self, sent=signal.SIGTERM):
        self.process.send_signal(sent)
        self.process.wait(60)

    def metric(self, name):
        token = (self.folder / "token").read_text().split()[-1]
        request = urllib.request.Request(f"http://127.0.0.1:{ADMIN}/metrics", headers={"Authorization": f"Bearer {token}"})
        text = urllib.request.urlopen(request, timeout=30).read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))

    def wait(self, is_so, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if is_so():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit(f"waited in vain; the end of its log:\n{(self.folder / 'edge.log').read_text()[-1500:]}")


def cpu_seconds(pid):
    total = 0
    for one in [pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def fill(edge, folder, files):
    """Asks for each object once."""
    began, at = time.monotonic(), 0
    while at < files:
        # Few at a time: what the writer cannot take at once is offered to it again by a hit in memory.
        until = min(at + 2_000, files)
        script = write(folder / "once.lua", ONCE % (at - 2, until, at))
        load = subprocess.Popen(["wrk", "-t2", "-c64", "-d600s", "-s", script, f"http://127.0.0.1:{EDGE}"], stdout=subprocess.DEVNULL)
        held = lambda: edge.metric("verge_edge_disk_files")
        while held() < until:
            if load.poll() is not None or time.monotonic() - began > 3_600:
                sys.exit(f"{held():.0f} of {files} files after {time.monotonic() - began:.0f} s")
            time.sleep(0.2)
        load.terminate()
        load.wait()
        at = until
    print(f"{held():.0f} files written in {time.monotonic() - began:.0f} s", flush=True)


def pad(folder, more):
    """Adds records of so many files, which are not there, to the journal of an edge that has stopped."""
    path = folder / "cache" / "journal"
    old = path.read_bytes()
    records = [old[at:at + RECORD] for at in range(0, len(old), RECORD)]
    if records[-1][8] == STOPPED:
        records.pop()
    last = max((record for record in records if record[8] == PUT), key=lambda record: struct.unpack_from("<Q", record, 17))
    _, file, birth = struct.unpack_from("<QQQ", last, 9)
    chance = random.Random(1)
    with open(path, "r+b") as journal:
        journal.seek(len(records) * RECORD)
        for number in range(len(records), len(records) + more):
            file += 1
            said = struct.pack("<IBQQQIIIH", number, PUT, chance.getrandbits(64), file, birth, 3, 0, 0, 0).ljust(RECORD - 4, b"\0")
            journal.write(struct.pack("<I", zlib.crc32(said)) + said)
        said = struct.pack("<IB", number + 1, STOPPED).ljust(RECORD - 4, b"\0")
        journal.write(struct.pack("<I", zlib.crc32(said)) + said)


def cold(folder):
    file = os.open(folder / "cache" / "journal", os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def from_start(edge, files):
    """Milliseconds from the start of the process."""
    asked = {"Cache-Control": "only-if-cached", "Host": f"127.0.0.1:{EDGE}"}
    passed = lambda: (time.monotonic() - edge.began) * 1e3
    listening = first = None
    number, connection = 0, None
    while first is None and passed() < 60_000:
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", EDGE, timeout=10)
                connection.connect()
                listening = listening or passed()
            number = (number + 7_919) % files
            connection.request("GET", f"/o/{number}", headers=asked)
            answer = connection.getresponse()
            answer.read()
            if "detail=disk" in answer.headers.get("Cache-Status", ""):
                first = passed()
        except (OSError, http.client.HTTPException):
            connection = None
            time.sleep(0.001)
    edge.wait(lambda: edge.metric("verge_edge_disk_up") == 1)
    return dict(listening_ms=round(listening), first_hit_ms=round(first), index_ms=round(passed()), cpu_s=round(cpu_seconds(edge.process.pid), 2),
                files=int(edge.metric("verge_edge_disk_files")), rss_mb=round(resident_mb(edge.process.pid)))


def starts(edge, folder, files, rounds):
    for how, sent in [("clean stop", signal.SIGTERM), ("kill -9", signal.SIGKILL)]:
        for _ in range(rounds):
            edge.stop(sent)
            cold(folder)
            edge.start()
            told = from_start(edge, files)
            print(f"after a {how:11} {told}", flush=True)


def nginx(folder):
    config = write(folder / "nginx.conf", f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; user root; worker_processes 1;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; keepalive_requests 100000000;
  proxy_cache_path {folder}/nginxcache levels=1:2 keys_zone=c:200m max_size=100g inactive=10d use_temp_path=off;
  server {{ listen 127.0.0.1:{NGINX}; location / {{ proxy_pass http://127.0.0.1:{ORIGIN}; proxy_cache c; }} }} }}
""")
    return subprocess.Popen(["taskset", "-c", "0", "nginx", "-p", str(folder), "-c", config])


def varnish(folder):
    vcl = write(folder / "default.vcl", f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{ORIGIN}"; }}\n')
    return subprocess.Popen(["taskset", "-c", "0", "varnishd", "-F", "-a", f"127.0.0.1:{VARNISH}", "-f", vcl, "-n", f"{folder}/varnish",
                             "-s", f"file,{folder}/varnish.store,2g", "-p", "thread_pools=1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load(port, script, seconds):
    text = subprocess.check_output(["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}"], text=True)
    return int(re.search(r"(\d+) requests in", text).group(1)), int((re.search(r"Non-2xx or 3xx responses: (\d+)", text) or [0, 0])[1])


def hits(edge, folder, objects):
    """CPU of a hit, in microseconds."""
    edge.stop()
    edge.start(core=0)
    peers = {"nginx": (nginx(folder), NGINX), "Varnish": (varnish(folder), VARNISH)}
    edge.wait(lambda: edge.metric("verge_edge_disk_up") == 1)
    time.sleep(1)
    once = write(folder / "fill.lua", ONCE % (-2, objects, 0))
    for _, port in peers.values():
        subprocess.check_output(["wrk", "-t2", "-c32", "-d20s", "-s", once, f"http://127.0.0.1:{port}"])
    script = write(folder / "any.lua", ANY % (objects - 1))
    servers = {"verge-edge": (edge.process, EDGE), **peers}
    rows = {name: [] for name in servers}
    for _ in range(5):
        for name, (process, port) in servers.items():
            before, from_disk = cpu_seconds(process.pid), edge.metric("verge_edge_disk_hits_total")
            asked, bad = load(port, script, 3)
            rows[name].append((cpu_seconds(process.pid) - before) / asked * 1e6)
            if name == "verge-edge":
                share = (edge.metric("verge_edge_disk_hits_total") - from_disk) / asked
            if bad:
                print(f"{name}: {bad} of {asked} failed")
    for name, us in rows.items():
        print(f"{name:11} {statistics.median(us):7.1f} us of CPU a hit ({min(us):.1f} to {max(us):.1f})", flush=True)
    print(f"{share:.0%} of the edge's hits were read from its disk")
    for process, _ in peers.values():
        process.terminate()
        process.wait(20)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="verge-edge")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--real", type=int, help="files that are written; default: all")
    parser.add_argument("--memory", default="64MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hits", action="store_true")
    parser.add_argument("--folder", default="/var/tmp/verge-bench-disk", help="made anew, and removed")
    args = parser.parse_args()
    folder = Path(args.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    processes, edge = [origin(folder)], None
    try:
        edge = Edge(folder, args.program, args.files, args.memory)
        edge.start()
        edge.wait(lambda: edge.metric("verge_edge_disk_up") == 1)
        real = args.real or args.files
        fill(edge, folder, real)
        if args.files > real:
            edge.stop()
            pad(folder, args.files - real)
            edge.start()
            edge.wait(lambda: edge.metric("verge_edge_disk_files") >= args.files)
        starts(edge, folder, real, args.rounds)
        if args.hits:
            hits(edge, folder, min(real, 20_000))
    finally:
        if edge and edge.process.poll() is None:
            edge.stop(signal.SIGKILL)
        for process in processes:
            process.terminate()
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
