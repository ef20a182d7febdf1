#!/usr/bin/env python3
"""How fast verge-dns answers, beside NSD, Knot, BIND and PowerDNS on the same core, the same zone and the same questions.

    apt-get install -y --no-install-recommends nsd knot bind9 pdns-server pdns-backend-bind gcc && pip install dnspython
    cargo build --release -p verge-dns
    tests/bench/dns_peers.py                                   # 10,000 names: the table of peers
    tests/bench/dns_peers.py --names 1000000 --only nsd,knot,ours
    tests/bench/dns_peers.py --kinds [--names N]               # hits, missing names, random subdomains, each alone
    tests/bench/dns_peers.py --loops                           # two loops at the rate of one each
    tests/bench/dns_peers.py --reload [--names N]              # questions lost and p99 while the zone is read again
    tests/bench/dns_peers.py --steered                         # answers that follow checks, beside gdnsd and PowerDNS LUA

The server runs on core 0 and the load on core 1 (`taskset`), in alternating rounds; the medians are printed. `echo` is
the floor: recvmmsg, flip a bit, sendmmsg, no look-up (`udp_echo.c`). On a machine that others use, qps is noise; the
CPU time of the server for one question, as a ratio to `echo` in the same run, is the steady figure. The questions are
70 % hits, 10 % missing names, 10 % no such type, 5 % aliases, 5 % from a wildcard, half of them with EDNS, made from a
fixed seed. verge-dns is asked on a public listener, so both views are loaded and the egress guard reads every answer;
cookies and metrics are on. Loopback is exempt from rate limits; `cargo bench -p verge-dns` shows what they cost.
`start s` is the time from exec to the first answer; PSS is taken right after it.

MEASURED on 2026-11-20, two cores with nothing else on them (load 1 to 2), the release profile as it is.

    10,000 names        questions/s   CPU us/question   of echo   PSS MB
    verge-dns           344,000       2.86              0.94        8
      and rate limits   341,000       2.92              0.96        6     (measured before they let loopback through)
    echo                327,000       3.04              1
    NSD 4.6             264,000       3.74              1.23       44
    Knot 3.2            249,000       3.96              1.30        9
    PowerDNS 4.7        176,000       5.65              1.86       55
    BIND 9.18           152,000       6.52              2.14       33
    Below echo since answers to one socket leave together (below: KEPT), of which the load has 8; before that 1.04, with
    rate limits 1.07, in a run in which NSD had 1.16. Where each question comes from another port it is 1.07.

    1,000,000 names     questions/s   CPU us/question   of echo   first answer s   CPU s   PSS MB
    verge-dns           338,000       2.91              0.98      0.46             0.39    156
    echo                331,000       2.98              1
    NSD                 208,000       4.78              1.60      1.05             1.03    320
    Knot                194,000       5.10              1.71      1.22             1.22    315
    Before records were put in order once, for duplicates, checks and both trees, and large blocks went back to the
    system at once: 0.90 s and 177 MB.

    Memory in MB, 1,000,000 names    first answer   at most in a reload   after it
    verge-dns                        183, then 156  341 to 369            156
      10 % of the names internal     227            555                   235
      50 % of the names internal     230, then 203  547                   211
    NSD, one view                    318            595                   319
    Knot, one view                   315            651                   624 for a while, then 315
    With internal names there are two trees; 1.1 to 1.2 CPU s to the first answer (1.8 before).

    Huge pages: a tree of more than 4 MiB is moved to them when it is whole (MADV_COLLAPSE, 0.1 CPU s after the first
    answer). CPU of the server for a question at 1,000,000 names, ten alternating rounds: least 4.25 us without, 3.82
    with; of it our own code 0.87 and 0.55. Asking for huge pages before (glibc.malloc.hugetlb=1) took 0.3 s more.

    Kinds of questions, of echo: missing 0.91, random subdomains 0.93, hits 0.92, no such type 0.92, aliases 0.95,
    wildcards 0.92. So a missing name costs 0.99 of a hit, a random one 1.01.

    Reload of 1,000,000 names at half of the peak (169,000 questions/s), four times: 0 of 6,093,572 lost; p99 3.1 to
    3.5 ms beside 1.8 to 2.6 without, p50 22 to 25 us beside 20 to 23; the server may use both cores, and the load has
    one of them. With the system's receive buffer (208 KiB) some 290 were lost in the first burst, with or without a
    reload, hence the 4 MiB that `serve` asks for.

    Two loops at 100,000 questions/s each: 3.4 to 4.2 us a question, one loop at 100,000: 5.1 (a paced load makes small
    batches, hence more than at the peak). The load ran on the same two cores: to be repeated on a machine with more.
    They share nothing that is written but the kernel's own.

WHERE THE TIME GOES (`cargo bench -p verge-dns`, without LTO). Instructions an answer (callgrind), and best ns before all
else by SCHED_FIFO; "before" is before referrals, additional data and signed zones were written without a draft:

                      instructions           ns
                      before   now           before   now
    hit, with EDNS    3,020    2,544
    hit               2,490    2,176 (2,920) 172      164 (220)   in brackets: when they first were, which cost all others
    no such type      3,894    3,502 (4,460) 254      198 (282)
    a missing name    4,408    3,749         271      195 (301)
    an alias          4,806    4,434         304      269 (385)
    a wildcard        3,903    3,096         229      196 (265)
    text              3,075    2,553 (3,250) 152      121 (194)

Now MX 4,730 (248 ns), SRV 4,995 (263), HTTPS 4,996 (257), two NS with addresses 6,486 (333), a referral with two glued
servers 9,270 (503), five labels below a missing name 4,415; in a signed zone with DO a hit 3,392 (184), a missing name
13,037 (857). What was won back: the table of names is made for four and grows, the header is stored as numbers and not
copied as slices, the question is written once, hashes of a name have room for 15 labels and only a longer name for 127,
an alias's target is looked for in the table of zones only if there is a zone below.
Of a hit: 305 read the question; 265 find the zone, 350 the name; 225 write the records; 275 are the egress guard's; 160
of all are copies, most of them of the question out of its reader, which could still go. Rate limiting adds 30 ns.
The rest of the 3 us is the kernel's: receiving and sending a datagram, which echo pays, too. So the limit is the socket.
At a million names two cache misses come on top (a slot of the index, a run of the arena).

PAST THE SOCKET (`past_sockets/run.py`, 2026-11-20, Linux 6.18, liburing 2.3, libxdp 1.3). The same echo by other means;
CPU of the server for a datagram, as a ratio to echo in the same round, medians of 5 to 9 rounds of 0.4 s, steady to 2 %.
The machine was busy (load 11 to 19), so server and load ran before all else (SCHED_FIFO). Unless a rate is named, both
shared one core, so that batches are full; echo was 3.1 to 3.2 us on loopback and 3.5 on the veth pair.

    batches of 1, 8, 16, 32       1.15, 1.01, 1.00, 1.00 of batches of 64
    epoll before each call 1.00, SO_RCVTIMEO 1.00, a connected socket 0.99, IP_PKTINFO 1.03, DF set (PMTUDISC_PROBE) 0.97
    io_uring                      1.01; veth 1.02; at 40,000/s 1.01. One multishot recvmsg, provided buffers, registered
                                  socket, DEFER_TASKRUN: 0.02 calls a datagram, or 0.8 where two were 1.7, save nothing
    SO_BUSY_POLL, also preferred  1.00: loopback has no NAPI context. A veth pair with GRO has: 1.02 to 1.05 at the peak;
      and with epoll              at 40,000/s 1.89, and p50 9 us instead of 21
    UDP_SEGMENT                   0.76 on questions half of which have EDNS, 0.29 if all answers are equally long; 1.00
                                  if each comes from another port
    UDP_GRO with it               the same; veth with GRO, which joins questions, too: 0.73
    AF_XDP on veth (copy mode)    0.43, with the load's share 0.66; native or generic, busy polling or not. Without the
                                  checksum 0.40. At 40,000/s 0.91, at 100,000/s 0.93: there the wait costs, not the stack

Where echo's time goes: 88 % is sendmmsg, a quarter of it the delivery to the client's socket, which on a network is the
client's; 12 % is recvmmsg. So fewer system calls save nothing, only fewer ways through the stack do.

KEPT: UDP_SEGMENT for neighbours of a batch that go to one client, because it pays where one socket asks much
(forwarders, load balancers, and each benchmark; resolvers ask each question from another port, RFC 5452) and costs
nothing elsewhere:

    verge-dns, of echo            before   now
    one core, 8 sockets           1.04     0.85
    two cores, 8 sockets          1.03     0.89   (307,000 and 354,000 a second, p50 1.6 and 0.9 ms)
    one core, each its own port   1.07     1.07

So `echo`, which sends each answer alone, is no floor any more for a load from few sockets.

LEFT: AF_XDP pays more than all else, but only under a flood; it needs privileges, ARP, routes, VLANs, MTU and IPv6 of
our own, and goes round the firewall. io_uring and busy polling: above. A nap after small batches while questions are
dense (50 us, `wait=nap`): 0.77 at 40,000/s and 0.70 at 160,000/s (a paced question costs 11.3 and 5.5 us where others use the
core in between, 3.2 at the peak), but p50 20 us becomes 50 to 63, p99 48 to 73 becomes 98 to 124, and a client with 8
questions in flight gets 77,000 answers a second instead of 279,000. A network card's own moderation (`ethtool -C`) does
as much, earlier. The loop makes one recvmmsg and one sendmmsg a batch and no other call: 0.64 of each a question at
40,000/s, 0.45 at 160,000/s, 0.03 at the peak; in vain only the look for a stop, two a second.

TRIED AND LEFT: precompiled packets for every name and type; a tree whose RRsets lie beside their names answers with two
cache misses and a copy, needs 60 bytes a name and nothing to be kept in step with it.

`cargo bench -p verge-dns` gives the same answers without sockets.

STEERED asks each server for 1,000 names that own two addresses: as plain records, and as members that a check by TCP finds
up (all have the same two, so that checks cost nothing). gdnsd 3.8 does it by its plugin multifo, PowerDNS 4.7 by a LUA
record, `ifportup` with all that are up, in a shared Lua state (in one of its own for each question it takes ten times as
long). No answer is signed, and none has additional records. Needs gdnsd as well.
"""
import argparse, json, os, random, re, shutil, socket, statistics, struct, subprocess, time
import dns.message, dns.flags

SCRATCH = os.environ.get("VERGE_BENCH_SCRATCH", "/tmp/verge-bench")
HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.join(HERE, "../../target/release/verge-dns")
HZ = os.sysconf("SC_CLK_TCK")

def build():
    os.makedirs(SCRATCH, exist_ok=True)
    for c in ("udp_echo", "udp_blast"):
        out = f"{SCRATCH}/{c}"
        if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(f"{HERE}/{c}.c"):
            subprocess.check_call(["gcc", "-O2", "-o", out, f"{HERE}/{c}.c"])

def zone(names):
    path = f"{SCRATCH}/example.com.{names}.zone"
    if not os.path.exists(path):
        r = random.Random(1)
        with open(path, "w") as f:
            f.write("$ORIGIN example.com.\n$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 604800 300\n@ IN NS ns1\n@ IN NS ns2\nns1 IN A 198.51.100.1\nns2 IN A 198.51.100.2\n@ IN A 198.51.100.10\n*.wild IN A 198.51.100.77\n")
            for i in range(names):
                f.write(f"h{i} IN A 203.0.{(i >> 8) & 255}.{i & 255}\n")
                if i % 10 == 0: f.write(f"c{i} IN CNAME h{i}\n")
    return path

def question(kind, i, k):
    return {"hit": (f"h{i}.example.com.", "A"), "missing": (f"nx{k}.example.com.", "A"), "nodata": (f"h{i}.example.com.", "AAAA"),
            "alias": (f"c{i // 10 * 10}.example.com.", "A"), "wildcard": (f"x{k}.wild.example.com.", "A"),
            "flood": (f"{random.Random(k).randbytes(8).hex()}.example.com.", "A")}[kind]

def queries(names, kind=None):
    path = f"{SCRATCH}/queries.{names}.{kind or 'mix'}.bin"
    r = random.Random(2); mix = ["hit", "missing", "nodata", "alias", "wildcard"]
    with open(path, "wb") as f:
        for k in range(20000):
            i = r.randrange(names); one = kind or r.choices(mix, [70, 10, 10, 5, 5])[0]
            m = dns.message.make_query(*question(one, i, k), use_edns=(0 if k % 2 else -1), payload=1232); m.flags &= ~dns.flags.RD
            w = m.to_wire(); f.write(struct.pack("!H", len(w)) + w)
    return path

def write(p, s):
    os.makedirs(os.path.dirname(p), exist_ok=True)
    with open(p, "w") as f: f.write(s)
    return p

def ours(d, zz, port, workers=1, more=""):
    """A config with both views, cookies (the default) and metrics; the zone in a folder of its own."""
    home = f"{d}/ours-{port}"; os.makedirs(f"{home}/zones"); shutil.copy(zz, f"{home}/zones/example.com.zone")
    return write(f"{home}/verge.toml", f'''zones = "{home}/zones"
listen = ["127.0.0.1:{port}"]
udp = {{ workers = {workers} }}
{more}
[internal]
listen = ["127.0.0.1:0"]
clients = ["127.0.0.0/8"]
[admin]
listen = "127.0.0.1:0"
''')

def servers(z, binary):
    d = f"{SCRATCH}/run"; shutil.rmtree(d, ignore_errors=True); os.makedirs(d); os.chmod(d, 0o777)
    zz = f"{d}/example.com.zone"; shutil.copy(z, zz); os.chmod(zz, 0o644)
    s = {}
    s["echo"] = (5400, [f"{SCRATCH}/udp_echo", "5400", "16"])
    s["nsd"] = (5401, ["nsd", "-d", "-c", write(f"{d}/nsd.conf", f"""
server:
  ip-address: 127.0.0.1@5401
  server-count: 1
  username: ""
  zonesdir: "{d}"
  database: ""
  zonelistfile: "{d}/nsd.list"
  xfrdfile: "{d}/nsd.xfrd"
  pidfile: "{d}/nsd.pid"
  reuseport: yes
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: "{zz}"
""")])
    s["knot"] = (5402, ["knotd", "-c", write(f"{d}/knot.conf", f"""
server:
  listen: 127.0.0.1@5402
  rundir: "{d}/knot"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{d}/knot"
log:
  - target: stderr
    any: warning
zone:
  - domain: example.com
    file: "{zz}"
    zonefile-sync: -1
    journal-content: none
""")])
    os.makedirs(f"{d}/knot"); os.makedirs(f"{d}/bind"); os.makedirs(f"{d}/pdns")
    s["bind"] = (5403, ["named", "-f", "-n", "1", "-c", write(f"{d}/named.conf", f"""
options {{ directory "{d}/bind"; listen-on port 5403 {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile none; minimal-responses yes; notify no; dnssec-validation no; }};
controls {{ }};
zone "example.com" {{ type primary; file "{zz}"; }};
""")])
    s["pdns"] = (5404, ["pdns_server", "--daemon=no", f"--config-dir={d}/pdns", "--launch=bind", "--bind-config=" + write(f"{d}/pdns/named.conf", f'zone "example.com" {{ type master; file "{zz}"; }};\n'), "--local-address=127.0.0.1", "--local-port=5404", f"--socket-dir={d}/pdns", "--receiver-threads=1", "--guardian=no", "--disable-syslog", "--loglevel=2", "--setuid=", "--setgid="])
    serve = lambda *config: [binary, "serve", "--config", ours(d, zz, *config)]
    s["ours"] = (5410, serve(5410))
    s["ours-two"] = (5412, serve(5412, 2))
    return s, d, zz

def cpu(pid):
    total = 0
    for p in descend(pid):
        try:
            with open(f"/proc/{p}/stat") as f: v = f.read().rsplit(")", 1)[1].split()
            total += int(v[11]) + int(v[12])
        except FileNotFoundError: pass
    return total / HZ

def descend(pid):
    out = [pid]
    for t in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{t}/children") as f:
                for c in f.read().split(): out += descend(int(c))
        except FileNotFoundError: pass
    return out

def memory(pid):
    """Proportional memory of the process tree in MiB: pages that forks share are counted once."""
    kib = 0
    for p in descend(pid):
        try: kib += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{p}/smaps_rollup").read(), re.M).group(1))
        except FileNotFoundError: pass
    return kib / 1024

def ready(port, process, secs=120):
    """Asks every 5 ms; true once an answer with a record in it came."""
    q = dns.message.make_query("h0.example.com.", "A").to_wire(); end = time.time() + secs
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.005); s.connect(("127.0.0.1", port))
    while time.time() < end and process.poll() is None:
        try:
            s.send(q); r = s.recv(4096)
            if r[3] & 15 == 0 and r[7] > 0: return True
        except OSError: time.sleep(0.005)
    return False

STEERED = ("gdnsd", "gdnsd-steered", "pdns", "pdns-lua", "ours", "ours-steered")

def steered_servers(binary):
    """Each server with plain pairs of addresses, and with pairs that a check finds up; and the socket that is checked."""
    d = f"{SCRATCH}/steered"; shutil.rmtree(d, ignore_errors=True); os.makedirs(d); os.chmod(d, 0o777)
    up = socket.socket(); up.bind(("0.0.0.0", 0)); up.listen(4096); check = up.getsockname()[1]; pair = ("127.0.0.1", "127.0.0.2")
    head = "$ORIGIN example.com.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\nns1 A 198.51.100.1\n"
    def file(path, of):
        write(path, head + "".join(of(f"h{i}") for i in range(1000))); os.chmod(path, 0o644); return path
    plain = lambda name, mark="": "".join(f"{name} A {address}{mark}\n" for address in pair)
    lua = lambda name: f"""{name} LUA A "ifportup({check}, {{'{pair[0]}', '{pair[1]}'}}, {{selector='all'}})"\n"""
    s = {"echo": (5400, [f"{SCRATCH}/udp_echo", "5400", "16"])}
    for at, (name, text) in enumerate((("gdnsd", plain), ("gdnsd-steered", lambda name: f"{name} DYNA multifo!edges\n"))):
        home = f"{d}/{name}"; file(f"{home}/zones/example.com", text); port = 5420 + at; os.makedirs(f"{home}/state"); os.makedirs(f"{home}/run")
        write(f"{home}/config", f"""options => {{ listen => 127.0.0.1:{port}, udp_threads => 1, tcp_threads => 1, state_dir => {home}/state, run_dir => {home}/run }}
service_types => {{ web => {{ plugin => tcp_connect, port => {check}, interval => 2, timeout => 1 }} }}
plugins => {{ tcp_connect => {{}}, multifo => {{ service_types => web, edges => {{ one => {pair[0]}, two => {pair[1]} }} }} }}
""")
        s[name] = (port, ["gdnsd", "-c", home, "start"])
    for at, (name, text) in enumerate((("pdns", plain), ("pdns-lua", lua))):
        home = f"{d}/{name}"; zz = file(f"{home}/example.com.zone", text); port = 5430 + at; os.chmod(home, 0o777)
        s[name] = (port, ["pdns_server", "--daemon=no", f"--config-dir={home}", "--launch=bind", "--bind-config=" + write(f"{home}/named.conf", f'zone "example.com" {{ type master; file "{zz}"; }};\n'), "--local-address=127.0.0.1", f"--local-port={port}", f"--socket-dir={home}", "--receiver-threads=1", "--guardian=no", "--disable-syslog", "--loglevel=2", "--setuid=", "--setgid=", "--enable-lua-records=shared"])
    for at, (name, mark) in enumerate((("ours", " ; verge: public"), ("ours-steered", " ; verge: public steer"))):
        zz = file(f"{d}/{name}.zone", lambda host: plain(host, mark)); port = 5440 + at
        s[name] = (port, [binary, "serve", "--config", ours(d, zz, port, 1, f'[steer]\ncheck = "tcp://{{address}}:{check}"')])
    return s, d, up

def blast(port, q, secs, window, rate=None, core="1"):
    extra = ["8", str(rate)] if rate else []
    command = ["taskset", "-c", core, f"{SCRATCH}/udp_blast", str(port), q, str(secs), str(window), *extra]
    return subprocess.Popen(command, stdout=subprocess.PIPE)

def start(name, port, cmd, d, cores="0"):
    t = time.time(); log = open(f"{d}/{name}.log", "w")
    p = subprocess.Popen(["taskset", "-c", cores] + cmd, stdout=log, stderr=log)
    if name != "echo" and not ready(port, p):
        p.kill(); print(f"{name}: did not answer; log: " + open(f"{d}/{name}.log").read()[-400:]); return None
    return p, {"start_s": time.time() - t, "start_cpu_s": cpu(p.pid), "pss_mb": memory(p.pid)}

def stop(p):
    p.terminate()
    try: p.wait(10)
    except Exception: p.kill()

def rounds(procs, ports, questions, a):
    """Alternating rounds of each server with each file of questions: results by (server, questions)."""
    res = {(n, k): [] for n in procs for k in questions}
    for _ in range(a.rounds):
        for n, k in res:
            c0 = cpu(procs[n].pid); o = json.loads(blast(ports[n], questions[k], a.secs, a.window).communicate()[0])
            o["us"] = (cpu(procs[n].pid) - c0) / max(o["got"], 1) * 1e6; res[n, k].append(o)
    return res

def median(results, key): return statistics.median(x[key] for x in results)

def table(res, info):
    print(f"{'server':13} {'questions':9} {'qps/core':>9} {'cpu us/q':>9} {'x echo cpu':>10} {'x echo qps':>10} {'lost':>6} {'noerr%':>7} {'start s':>8} {'cpu s':>6} {'PSS MB':>7}")
    for n, k in sorted(res, key=lambda nk: median(res[nk], "us")):
        x, e = res[n, k], res.get(("echo", k)); e_us, e_qps = (median(e, "us"), median(e, "qps")) if e else (0, 0)
        us, qps = median(x, "us"), median(x, "qps"); got = sum(y["got"] for y in x) or 1
        print(f"{n:13} {k:9} {qps:9.0f} {us:9.2f} {us / e_us if e_us else 0:10.2f} {qps / e_qps if e_qps else 0:10.2f} {sum(y['lost'] for y in x):6} {100 * sum(y['noerror'] for y in x) / got:7.1f} {info[n]['start_s']:8.2f} {info[n]['start_cpu_s']:6.2f} {info[n]['pss_mb']:7.0f}")

def compare(s, d, names, questions, a):
    procs, info = {}, {}
    try:
        for n in names:
            if up := start(n, *s[n], d): procs[n], info[n] = up
        table(rounds(procs, {n: s[n][0] for n in procs}, questions, a), info)
    finally:
        for p in procs.values(): stop(p)

def loops(s, d, q, a):
    """One loop on core 0, then two on both cores, at the same rate for each loop; the load shares the cores."""
    rate = a.rate or 60000
    print(f"{'loops':8} {'rate':>8} {'got/s':>8} {'cpu us/q':>9} {'lost':>6}")
    for _ in range(a.rounds):
        for name, cores, count in (("ours", "0", 1), ("ours-two", "0,1", 2)):
            p, _ = start(name, *s[name], d, cores)
            c0 = cpu(p.pid); loads = [blast(s[name][0], q, a.secs, a.window, rate, core) for core in ("1", "0")[:count]]
            o = [json.loads(x.communicate()[0]) for x in loads]; got = sum(x["got"] for x in o)
            print(f"{count:8} {rate * count:8} {got / a.secs:8.0f} {(cpu(p.pid) - c0) / got * 1e6:9.2f} {sum(x['lost'] for x in o):6}"); stop(p)

def reload(s, d, q, a):
    """Half of the peak's load, without and with the zone written anew (serial raised) in the middle."""
    port, cmd = s["ours"]; p, _ = start("ours", port, cmd, d, "0,1")
    zone_file = f"{d}/ours-{port}/zones/example.com.zone"
    try:
        peak = json.loads(blast(port, q, a.secs, a.window).communicate()[0])["qps"]; rate = int(a.rate or peak / 2)
        for what in ("quiet", "reload") * a.rounds:
            secs = a.secs if what == "quiet" else a.secs + 6; c0 = cpu(p.pid)
            load = blast(port, q, secs, a.window, rate)
            if what == "reload":
                text = open(zone_file).read(); serial = int(re.search(r"hostmaster (\d+)", text).group(1)); time.sleep(0.5)
                write(zone_file + ".new", text.replace(f"hostmaster {serial} ", f"hostmaster {serial + 1} ", 1)); os.rename(zone_file + ".new", zone_file)
            o = json.loads(load.communicate()[0])
            print(f"{what:7} rate {rate}: got {o['got']}, lost {o['lost']}, p50 {o['p50_us']} us, p99 {o['p99_us']} us, most {o['max_us']} us, CPU {cpu(p.pid) - c0:.1f} s, PSS {memory(p.pid):.0f} MB")
        said = open(f"{d}/ours.log").read(); print(f"worlds published: {len(re.findall('example.com', said))} lines of the log name the zone")
    finally: stop(p)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=3); ap.add_argument("--secs", type=float, default=3); ap.add_argument("--names", type=int, default=10000)
    ap.add_argument("--only", help="servers, by comma"); ap.add_argument("--ours", default=OURS, help="the program verge-dns"); ap.add_argument("--window", type=int, default=512)
    ap.add_argument("--kinds", action="store_true"); ap.add_argument("--loops", action="store_true"); ap.add_argument("--reload", action="store_true"); ap.add_argument("--rate", type=int)
    ap.add_argument("--steered", action="store_true")
    a = ap.parse_args(); build()
    if a.steered:
        s, d, _up = steered_servers(os.path.abspath(a.ours))
        return compare(s, d, a.only.split(",") if a.only else ["echo", *STEERED], {"hit": queries(1000, "hit")}, a)
    s, d, _ = servers(zone(a.names), os.path.abspath(a.ours))
    if a.loops: return loops(s, d, queries(a.names), a)
    if a.reload: return reload(s, d, queries(a.names), a)
    questions = {k: queries(a.names, k) for k in ("hit", "missing", "flood", "nodata", "alias", "wildcard")} if a.kinds else {"mix": queries(a.names)}
    names = a.only.split(",") if a.only else ["ours"] if a.kinds else [n for n in s if n != "ours-two"]
    compare(s, d, names, questions, a)

if __name__ == "__main__":
    main()
