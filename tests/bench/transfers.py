#!/usr/bin/env python3
"""Transfers of a large zone: verge-dns beside NSD and Knot, out and in; IXFR of 1,000 changes; queries answered meanwhile.

    apt-get install -y --no-install-recommends nsd knot gcc && pip install dnspython
    cargo build --release -p verge-dns
    tests/bench/transfers.py                       # 1,000,000 names
    tests/bench/transfers.py --names 100000 --rounds 5

out:      a client on core 1 takes the zone by AXFR from each server on core 0, in alternating rounds; seconds, and CPU of the server.
in:       each takes the zone from the same NSD; seconds and CPU from its start to its first answer, and PSS then.
changes:  1,000 addresses change in the file of a verge-dns that another one takes the zone from; seconds and CPU until both answer.
queries:  half of the peak's rate is asked, without and with AXFR after AXFR; answered of asked, p50, p99.
The medians are printed. On a machine that others use, seconds are noise; CPU and ratios of one run are the steady figures.

MEASURED on 2026-11-30, two cores that others used as well (load 9 to 14): 1,000,000 names with 1,100,008 records, 26.9 MB on the wire.

    AXFR out      s     CPU s   PSS MB        AXFR in       s      CPU s   PSS MB
    NSD 4.6       0.58  0.15    320           NSD 4.6        3.51  1.27    317
    Knot 3.2      0.85  0.19    316           Knot 3.2       4.33  1.67    314
    verge-dns     0.89  0.19    159           verge-dns     10.30  3.01    205

    verge-dns writes what comes as text, syncs it, and reads it twice: once to check it, and once to serve it.

    1,000 changes   primary: read and served 5.6 s, CPU 1.4 s; IXFR 0.1 s, 2,004 records, 42 kB
                    the one that takes them: 11.5 s, CPU 3.6 s, PSS 282 MB: the whole copy is written and read again

    queries at half of the peak (34,337/s), with AXFR after AXFR: 1.00 of those without are answered; three rounds with 6 to 9
    transfers of 4 s each: p50 110 and 138 us in the last, p99 24 and 23 ms, which is the others' work on these cores
"""
import argparse, json, os, re, shutil, signal, socket, statistics, struct, subprocess, threading, time
import dns.message
import dns_peers as peers
from dns_peers import blast, cpu, stop, write

NSD, KNOT, OURS = 5421, 5422, 5423

def memory(pid):
    """NSD replaces its processes after a transfer: one may go while it is looked at."""
    for _ in range(20):
        try: return peers.memory(pid)
        except (ProcessLookupError, AttributeError): time.sleep(0.1)
    return float("nan")

def ready(port, process, secs=300):
    """Asks a hundred times a second: a server without the zone says so at once, and is not to be kept busy by that."""
    end = time.time() + secs
    while time.time() < end and process.poll() is None:
        if address(port, "h0.example.com.", wait=0.05): return True
        time.sleep(0.01)
    return False

def nsd(home, port, zone, more):
    os.makedirs(f"{home}/nsd-{port}")
    return ["nsd", "-d", "-c", write(f"{home}/nsd-{port}.conf", f"""
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  zonesdir: "{home}/nsd-{port}"
  database: ""
  zonelistfile: "{home}/nsd-{port}/list"
  xfrdfile: "{home}/nsd-{port}/xfrd"
  xfrdir: "{home}/nsd-{port}"
  pidfile: "{home}/nsd-{port}/pid"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: "{zone}"
  {more}
""")]

def knot(home, port, zone, more, remotes=""):
    os.makedirs(f"{home}/knot-{port}")
    return ["knotd", "-c", write(f"{home}/knot-{port}.conf", f"""
server:
  listen: 127.0.0.1@{port}
  rundir: "{home}/knot-{port}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{home}/knot-{port}"
{remotes}
log:
  - target: stderr
    any: warning
acl:
  - id: all
    action: transfer
    address: 127.0.0.1
zone:
  - domain: example.com
    file: "{zone}"
    zonefile-sync: -1
    journal-content: none
    acl: all
    {more}
""")]

def ours(home, port, binary, zone, more):
    own = f"{home}/ours-{port}"
    os.makedirs(f"{own}/zones")
    if zone: shutil.copy(zone, f"{own}/zones/example.com.zone")
    return [binary, "serve", "--config", write(f"{own}/dns.toml", f'zones = "zones"\nlisten = ["127.0.0.1:{port}"]\nrate_limit.enabled = false\nudp.workers = 1\n{more}')]

OPEN = '[[transfer]]\nclients = ["127.0.0.1"]\n'

def take(port, serial=None):
    """The records of an AXFR or IXFR: seconds, records, bytes. It ends with the SOA that it began with."""
    query = dns.message.make_query("example.com.", "AXFR" if serial is None else "IXFR")
    if serial is not None: query.authority.append(dns.rrset.from_text("example.com.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
    wire, started = query.to_wire(), time.time()
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(struct.pack("!H", len(wire)) + wire)
        incoming, soa, seen, records, total = stream.makefile("rb", 1 << 20), None, 0, 0, 0
        while True:
            length = struct.unpack("!H", incoming.read(2))[0]
            message = incoming.read(length)
            total += length
            if message[3] & 15: raise RuntimeError(f"rcode {message[3] & 15}")
            records += struct.unpack("!H", message[6:8])[0]
            if soa is None: soa = dns.message.from_wire(message, one_rr_per_rrset=True).answer[0][0].to_wire()[-20:]
            seen += message.count(soa)
            # An IXFR of one step says it once more: before what comes.
            if seen == (2 if serial is None else 3): break
    return time.time() - started, records, total

def start(name, command, port, home, cores):
    log = open(f"{home}/{name}.log", "a")
    began = time.time()
    process = subprocess.Popen(["taskset", "-c", cores, *command], stdout=log, stderr=log)
    if not ready(port, process): raise SystemExit(f"{name} does not answer: " + open(f"{home}/{name}.log").read()[-600:])
    return process, time.time() - began

def out(home, binary, zone, args):
    commands = {"nsd": (NSD, nsd(home, NSD, zone, "provide-xfr: 127.0.0.1 NOKEY")), "knot": (KNOT, knot(home, KNOT, zone, "")), "verge-dns": (OURS, ours(home, OURS, binary, zone, OPEN))}
    running = {name: start(name, command, port, home, "0")[0] for name, (port, command) in commands.items()}
    os.sched_setaffinity(0, {1})
    try:
        found = {name: [] for name in running}
        for _ in range(args.rounds):
            for name, process in running.items():
                before = cpu(process.pid)
                secs, records, total = take(commands[name][0])
                found[name].append((secs, cpu(process.pid) - before, records, total))
        print(f"\n{'AXFR out':12} {'s':>7} {'CPU s':>7} {'records':>9} {'MB':>6} {'PSS MB':>7}")
        for name, rounds in found.items():
            secs, used, records, total = (statistics.median(column) for column in zip(*rounds))
            print(f"{name:12} {secs:7.2f} {used:7.2f} {records:9.0f} {total / 1e6:6.1f} {memory(running[name].pid):7.0f}")
    finally:
        os.sched_setaffinity(0, {0, 1})
        for process in running.values(): stop(process)

def into(home, binary, zone, args):
    source, _ = start("source", nsd(home, 5430, zone, "provide-xfr: 127.0.0.1 NOKEY"), 5430, home, "1")
    master = "remote:\n  - id: source\n    address: 127.0.0.1@5430\n"
    print(f"\n{'AXFR in':12} {'s':>7} {'CPU s':>7} {'PSS MB':>7}")
    try:
        for name in ("nsd", "knot", "verge-dns"):
            rounds = []
            for at in range(args.rounds):
                port = 5440 + at + 20 * ("nsd", "knot", "verge-dns").index(name)
                secondary = f'[[secondary]]\nzone = "example.com"\nprimaries = ["127.0.0.1:5430"]\n'
                command = {"nsd": lambda: nsd(home, port, f"{home}/none", "request-xfr: AXFR 127.0.0.1@5430 NOKEY"), "knot": lambda: knot(home, port, f"{home}/none", "master: source", master), "verge-dns": lambda: ours(home, port, binary, None, secondary)}[name]()
                process, secs = start(f"{name}-in", command, port, home, "0")
                try: rounds.append((secs, cpu(process.pid), memory(process.pid)))
                finally: stop(process)
            secs, used, pss = (statistics.median(column) for column in zip(*rounds))
            print(f"{name:12} {secs:7.2f} {used:7.2f} {pss:7.0f}")
    finally: stop(source)

def address(port, name, wait=1):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(wait); one.connect(("127.0.0.1", port))
        try: one.send(dns.message.make_query(name, "A").to_wire()); answer = dns.message.from_wire(one.recv(4096))
        except OSError: return None
    return answer.answer[0][0].address if answer.answer else None

def edit(path, serial, byte):
    """1,000 names have another address."""
    text = open(path).read().replace(f"hostmaster {serial} ", f"hostmaster {serial + 1} ", 1)
    changed = re.sub(r"^(h\d{1,3} IN A) .*$", rf"\1 198.51.100.{byte}", text, flags=re.M)
    write(path + ".new", changed); os.rename(path + ".new", path)

def changes(home, binary, zone, args):
    primary_port, taker_port = 5520, 5521
    notify = f'{OPEN}notify = ["127.0.0.1:{taker_port}"]\n'
    primary, _ = start("primary", ours(home, primary_port, binary, zone, "reload.watch = false\n" + notify), primary_port, home, "0,1")
    taker, _ = start("taker", ours(home, taker_port, binary, None, f'[[secondary]]\nzone = "example.com"\nprimaries = ["127.0.0.1:{primary_port}"]\n'), taker_port, home, "0,1")
    print(f"\n{'1,000 changes':14} {'served s':>9} {'taken s':>8} {'CPU s':>6} {'taker CPU s':>12} {'taker PSS MB':>13}   IXFR s, records, kB")
    try:
        for at in range(args.rounds):
            edit(f"{home}/ours-{primary_port}/zones/example.com.zone", 1 + at, 20 + at)
            used, began = (cpu(primary.pid), cpu(taker.pid)), time.time()
            primary.send_signal(signal.SIGHUP)
            while address(primary_port, "h7.example.com.") != f"198.51.100.{20 + at}": time.sleep(0.01)
            served = time.time() - began
            while address(taker_port, "h7.example.com.") != f"198.51.100.{20 + at}": time.sleep(0.01)
            taken = time.time() - began - served
            secs, records, total = take(primary_port, 1 + at)
            print(f"{'':14} {served:9.2f} {taken:8.2f} {cpu(primary.pid) - used[0]:6.2f} {cpu(taker.pid) - used[1]:12.2f} {memory(taker.pid):13.0f}   {secs:.4f}, {records}, {total / 1e3:.0f}")
        kinds = re.findall(r'a new version came.*kind="?(\w+)', open(f"{home}/taker.log").read())
        print("the taker got:", ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))
    finally: stop(primary); stop(taker)

def queries(home, binary, zone, args):
    """The load and the client that takes the zone share core 1."""
    port = 5530
    process, _ = start("asked", ours(home, port, binary, zone, OPEN), port, home, "0,1")
    questions = peers.queries(args.names, "hit")
    try:
        peak = json.loads(blast(port, questions, 2, 512).communicate()[0])["qps"]
        rate = int(peak / 2)
        print(f"\n{'queries':10} {'asked/s':>8} {'answered/s':>11} {'of quiet':>9} {'p50 us':>7} {'p99 us':>7} {'transfers':>10}")
        quiet = None
        for what in ("quiet", "transfers") * args.rounds:
            ending, taken = threading.Event(), []
            def again():
                while not ending.is_set(): taken.append(take(port)[0])
            client = threading.Thread(target=again)
            load = blast(port, questions, args.secs, 512, rate)
            if what == "transfers": client.start()
            o = json.loads(load.communicate()[0])
            ending.set()
            if what == "transfers": client.join()
            got = o["got"] / args.secs
            quiet = got if what == "quiet" else quiet
            print(f"{what:10} {rate:8} {got:11.0f} {got / quiet:9.2f} {o['p50_us']:7} {o['p99_us']:7} {len(taken):10}")
        print(f"PSS {memory(process.pid):.0f} MB")
    finally: stop(process)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=5)
    parser.add_argument("--ours", default=peers.OURS, help="the program verge-dns")
    parser.add_argument("--only", default="out,into,changes,queries")
    args = parser.parse_args()
    peers.build()
    home = f"{peers.SCRATCH}/transfers"
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    zone = peers.zone(args.names)
    parts = {"out": out, "into": into, "changes": changes, "queries": queries}
    for part in args.only.split(","): parts[part](home, os.path.abspath(args.ours), zone, args)

if __name__ == "__main__":
    main()
