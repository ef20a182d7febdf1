#!/usr/bin/env python3
"""What lies past recvmmsg and sendmmsg: the same echo over io_uring, busy polling and AF_XDP, beside the floor.

    apt-get install -y --no-install-recommends gcc liburing-dev libxdp-dev libbpf-dev ethtool iproute2
    tests/bench/past_sockets/run.py calls --first --together      # batch sizes, ways to wait, io_uring: loopback
    tests/bench/past_sockets/run.py segments --first --together   # UDP_SEGMENT and UDP_GRO at their best
    tests/bench/past_sockets/run.py veth --first --together       # io_uring and AF_XDP over a veth pair (root)
    tests/bench/past_sockets/run.py veth-gro --first --together   # the same with NAPI, for busy polling
    tests/bench/past_sockets/run.py wait --first --rate 40000     # paced, at random: CPU and latency
    tests/bench/past_sockets/run.py calls --first --ours target/release/verge-dns

Every variant flips one bit and answers, so that kernel interfaces are compared and not DNS work. The server runs on
core 0, the load on core 1; each round starts every variant in turn, and a ratio is taken within its round. With
`--together` both are on core 0: what is faster than the load would else wait for it and make small batches, which cost
more than they show. `--first` lets both run before everything else, which makes rounds of 0.4 s steady to 2 % on a
machine that others use. `us` is the server's CPU time for a datagram, `both` that of server, load and ksoftirqd: without
CONFIG_IRQ_TIME_ACCOUNTING the softirq that a process runs counts as its own, and AF_XDP moves work from the one that
receives to the one that sends. A paced load never sleeps, so that `both` says nothing there. `calls` are the system
calls of the server for a datagram, `napi` the NAPI context of its socket (0: none), as it says itself.
What was found is in the doc of ../dns_peers.py.
"""
import argparse, glob, json, os, statistics, struct, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
SCRATCH = os.environ.get("VERGE_BENCH_SCRATCH", "/tmp/verge-bench")
LIBRARIES = {"echo_uring": ["-luring"], "echo_xdp": ["-lxdp", "-lbpf"]}
LOOPBACK, SERVER, CLIENT = "127.0.0.1", "10.99.0.1", "10.99.0.2"
PORT = "5500"

mmsg = lambda *options: ["echo_mmsg", None, PORT, *options]
uring = lambda *options: ["echo_uring", None, PORT, "16", *options]
xdp = lambda *options: ["echo_xdp", "vs0", PORT, "16", *options]

VARIANTS = {
    "floor": mmsg(), "again": mmsg(),
    "batch 1": mmsg("batch=1"), "batch 8": mmsg("batch=8"), "batch 16": mmsg("batch=16"), "batch 32": mmsg("batch=32"),
    "pktinfo": mmsg("pktinfo=1"), "timeout": mmsg("timeout=1"), "pmtu omit": mmsg("pmtu=5"), "pmtu probe": mmsg("pmtu=3"), "connected": mmsg("connect=1"),
    "gso": mmsg("gso=1"), "gro": mmsg("gro=1"),
    "epoll if empty": mmsg("wait=epoll"), "epoll first": mmsg("wait=first"), "spin 20 us": mmsg("wait=spin", "us=20"),
    "nap 30 us": mmsg("wait=nap", "us=30"), "nap 50 us": mmsg("wait=nap", "us=50"), "nap 100 us": mmsg("wait=nap", "us=100"),
    "busy poll": mmsg("busy=50"), "busy, prefer": mmsg("busy=50", "prefer=1"), "epoll busy": mmsg("wait=epoll", "busy=50", "prefer=1"),
    "io_uring": uring(), "uring 8/50 us": uring("8", "50"), "uring 8/100 us": uring("8", "100"),
    "xdp native": xdp("native"), "xdp generic": xdp("generic"), "xdp busy poll": xdp("native", "50"), "xdp no sum": xdp("native", "0", "nosum"),
}
SETS = {
    "calls": ["floor", "again", "batch 1", "batch 8", "batch 16", "batch 32", "pktinfo", "timeout", "pmtu omit", "pmtu probe", "epoll if empty", "epoll first", "busy poll", "io_uring"],
    "segments": ["floor", "gso", "gro", "again"],
    "one": ["floor", "again", "connected"],
    "wait": ["floor", "again", "spin 20 us", "nap 30 us", "nap 50 us", "nap 100 us", "io_uring", "uring 8/50 us", "uring 8/100 us"],
    "veth": ["floor", "again", "busy poll", "io_uring", "xdp native", "xdp generic", "xdp busy poll", "xdp no sum"],
    "veth-gro": ["floor", "again", "busy poll", "busy, prefer", "epoll busy", "gro", "io_uring"],
}

def build():
    os.makedirs(SCRATCH, exist_ok=True)
    for source in (f"{HERE}/../udp_blast.c", *glob.glob(f"{HERE}/*.c")):
        name = os.path.basename(source)[:-2]; out = f"{SCRATCH}/{name}"
        if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
            subprocess.check_call(["gcc", "-O2", "-Wall", "-o", out, source, *LIBRARIES.get(name, [])])

def questions(alike):
    """Hits, half of them with EDNS; or all of one length, the best case for segmentation."""
    path = f"{SCRATCH}/past.{'alike' if alike else 'mixed'}.bin"
    with open(path, "wb") as f:
        for k in range(20000):
            name = b"h%d" % (1000 + k * 7 % 9000 if alike else k * 7 % 10000); opt = not alike and k % 2 == 0
            q = struct.pack("!6H", 0, 0, 1, 0, 0, opt) + bytes([len(name)]) + name + b"\7example\3com\0" + struct.pack("!2H", 1, 1)
            if opt: q += b"\0" + struct.pack("!2HIH", 41, 1232, 0, 0)
            f.write(struct.pack("!H", len(q)) + q)
    return path

def run(*command): subprocess.check_call(command)

def pair(gro):
    """Two namespaces and a veth pair between them; neighbours are fixed, so that AF_XDP needs no ARP."""
    unpair()
    for ns in ("verge-server", "verge-client"): run("ip", "netns", "add", ns)
    run("ip", "link", "add", "vs0", "netns", "verge-server", "type", "veth", "peer", "name", "vc0", "netns", "verge-client")
    ends = (("verge-server", "vs0", SERVER, "02:00:00:00:00:01"), ("verge-client", "vc0", CLIENT, "02:00:00:00:00:02"))
    for ns, device, address, mac in ends: run("ip", "-n", ns, "link", "set", device, "address", mac, "up"); run("ip", "-n", ns, "address", "add", f"{address}/24", "dev", device)
    for (ns, device, *_), (_, _, address, mac) in zip(ends, ends[::-1]): run("ip", "-n", ns, "neighbour", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")
    if gro:  # what a sender that segments TCP sends never goes through NAPI
        for ns, device, feature in (("verge-server", "vs0", ("gro", "on")), ("verge-client", "vc0", ("tso", "off"))): run("ip", "netns", "exec", ns, "ethtool", "-K", device, *feature)

def unpair():
    for ns in ("verge-server", "verge-client"): subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)

def ran_ns(pids): return sum(int(open(p).read().split()[0]) for pid in pids for p in glob.glob(f"/proc/{pid}/task/*/schedstat"))

def on(a, core): return ["chrt", "--fifo", "1"] * a.first + ["taskset", "-c", core]

def measure(command, address, port, a, veth):
    inside = lambda ns: ["ip", "netns", "exec", ns] if veth else []
    server = subprocess.Popen([*inside("verge-server"), *on(a, "0"), *command], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(a.settle); mine, theirs = ran_ns([server.pid]), ran_ns(a.softirq)
        paced = [str(a.rate), "random"] if a.rate else []
        load = subprocess.Popen([*inside("verge-client"), *on(a, "0" if a.together else "1"), f"{SCRATCH}/udp_blast", f"{address}:{port}", a.file, str(a.secs), str(a.window), str(a.socks), *paced], stdout=subprocess.PIPE, text=True)
        result = json.loads(load.stdout.read()); _, _, used = os.wait4(load.pid, 0)
        mine, theirs = ran_ns([server.pid]) - mine, ran_ns(a.softirq) - theirs
    finally:
        server.terminate(); said = server.communicate()[0]
    said = json.loads(said) if said.startswith("{") else {}
    got = max(result["got"], 1); calls = sum(said.get(k, 0) for k in ("receives", "sends", "other_waits"))
    return {**result, **said, "us": mine / got / 1e3, "both": (mine + theirs) / got / 1e3 + (used.ru_utime + used.ru_stime) / got * 1e6, "calls": calls / got}

def ours(program):
    sys.path.insert(0, f"{HERE}/.."); import dns_peers, shutil
    d = f"{SCRATCH}/past"; shutil.rmtree(d, ignore_errors=True); os.makedirs(d)
    return [os.path.abspath(program), "serve", "--config", dns_peers.ours(d, dns_peers.zone(10000), 5501, 1, 'log = { level = "error" }')]

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("set", choices=SETS); ap.add_argument("--only", help="variants, by comma"); ap.add_argument("--rounds", type=int, default=7); ap.add_argument("--secs", type=float, default=0.4)
    ap.add_argument("--window", type=int, default=512); ap.add_argument("--socks", type=int); ap.add_argument("--rate", type=int); ap.add_argument("--settle", type=float, default=0.3)
    ap.add_argument("--first", action="store_true", help="server and load run before all else (SCHED_FIFO): where others build, a paced load is late without it")
    ap.add_argument("--together", action="store_true", help="the load on core 0, too: whatever is fast, its batches are full")
    ap.add_argument("--ours", action="append", default=[], help="a program verge-dns, loopback only")
    a = ap.parse_args(); build(); a.file = questions(a.set == "segments" or a.only == "gro"); a.socks = a.socks or (1 if a.set == "one" else 8)
    a.softirq = subprocess.check_output(["pgrep", "-x", "ksoftirqd/.*"], text=True).split()
    veth = a.set.startswith("veth"); address = SERVER if veth else LOOPBACK
    commands = {n: [f"{SCRATCH}/{VARIANTS[n][0]}", *(x or address for x in VARIANTS[n][1:])] for n in (a.only.split(",") if a.only else SETS[a.set])}
    for i, program in enumerate(a.ours): commands[f"ours {i}"] = ours(program)
    results = {n: [] for n in commands}
    try:
        if veth: pair(a.set == "veth-gro")
        for _ in range(a.rounds):
            for n, c in commands.items(): results[n].append(measure(c, address, "5501" if n.startswith("ours") else PORT, a, veth))
    finally:
        if veth: unpair()
    print(f"{a.set} rate {a.rate or 'peak'} window {a.window} sockets {a.socks}, {a.rounds} rounds of {a.secs} s, {'one core, ' * a.together}load now {os.getloadavg()[0]:.1f}")
    print(f"{'':16} {'us':>6} {'least':>6} {'ratio':>6} {'both':>6} {'ratio':>6} {'qps':>8} {'calls':>6} {'lost':>6} {'p50':>6} {'p99':>6} {'napi':>5}")
    for n, rs in results.items():
        of = lambda key: statistics.median(r[key] for r in rs); ratio = lambda key: statistics.median(r[key] / f[key] for r, f in zip(rs, results["floor"]))
        print(f"{n:16} {of('us'):6.2f} {min(r['us'] for r in rs):6.2f} {ratio('us'):6.2f} {of('both'):6.2f} {ratio('both'):6.2f} {of('qps'):8.0f} {of('calls'):6.2f} {sum(r['lost'] for r in rs):6} {of('p50_us'):6.0f} {of('p99_us'):6.0f} {rs[-1].get('napi', '-'):>5}")

if __name__ == "__main__":
    main()
