#!/usr/bin/env python3
"""How much memory verge-edge takes, beside what `edge/reference.toml` says that it takes at most.

    cargo build --release -p verge-edge
    tests/bench/memory.py                                      # the table below
    tests/bench/memory.py --program target/debug/verge-edge --memory 64MiB --cases mixed

Each case has a process of its own. Eight clients ask for new URLs until half as much again as `memory` has passed through the store; the
origin's answers have heads and bodies of the sizes of the case, drawn evenly on a logarithmic scale, one half with a length
and one half in chunks. `in pieces`: the origin writes the body in pieces of 100 bytes to 64 KiB. `slow readers`: 60 more
clients ask for 4 MB each and read nothing. RSS is VmHWM, the most that the process has had. It exits with 1 where RSS is
over the formula:

    17/16 x memory + connections x (576 KiB + head_size) + origins x 8 MiB + 64 MiB

MEASURED on 2026-11-30, release profile, two cores with builds beside (load 14 to 17), RSS in MiB and the formula's bound:

                                 memory = 64MiB      memory = 512MiB
    heads of 0.2 KB                 79  of 145          337  of 621
    heads of 4 KB                   64                  241
    heads of 50 KB                  67                  241
    bodies of 1 KB                  80                  362
    bodies of 33 KB                 89                  445
    bodies of 35 KB in pieces       93                  451
    bodies of 330 KB in pieces     101                  455
    bodies of 4 MB                 121                  472
    mixed                          109                  445
    mixed in pieces                132                  482
    mixed, slow readers            164  of 179          614, 617, 627  of 655

60 clients that read nothing of bodies of 4 MB, beside eight that fill the store, are what comes nearest to the bound. The sixteenth
of `memory` is for the gaps that the allocator leaves: without it, one of three runs was 4 MiB over the bound of 512MiB. Before heads and pieces were weighed as they are allocated, heads of 50 KB took 963 MiB.
"""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent.parent / "target" / "release" / "verge-edge"
CLIENTS = 8
HEAD_SIZE_KIB = 16
KIB, MIB = 1 << 10, 1 << 20
# name: heads, bodies, pieces as (from, to) in bytes; slow readers.
WHOLE = (8 * MIB, 8 * MIB)
CASES = {
    "heads of 0.2 KB": ((200, 200), (1, 1), WHOLE, 0),
    "heads of 4 KB": ((4000, 4000), (1, 1), WHOLE, 0),
    "heads of 50 KB": ((50_000, 50_000), (1, 1), WHOLE, 0),
    "bodies of 1 KB": ((200, 200), (1000, 1000), WHOLE, 0),
    "bodies of 33 KB": ((200, 200), (33_000, 33_000), WHOLE, 0),
    "bodies of 35 KB in pieces": ((200, 200), (35_000, 35_000), (7000, 7000), 0),
    "bodies of 330 KB in pieces": ((200, 200), (330_000, 330_000), (33_000, 33_000), 0),
    "bodies of 4 MB": ((200, 200), (4_000_000, 4_000_000), WHOLE, 0),
    "mixed": ((200, 50_000), (1, 4_000_000), WHOLE, 0),
    "mixed in pieces": ((200, 50_000), (1, 4_000_000), (100, 65_536), 0),
    "mixed, slow readers": ((200, 50_000), (1, 4_000_000), (100, 65_536), 60),
}


def bytes_of(text):
    number, unit = re.fullmatch(r"(\d+)(KiB|MiB|GiB)", text).groups()
    return int(number) * {"KiB": KIB, "MiB": MIB, "GiB": 1 << 30}[unit]


def status_kib(pid, name):
    return int(re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])


class Load:
    """`memory_load`, built for this run."""

    def __init__(self, folder):
        program = folder / "memory_load"
        source = HERE / "memory_load.c"
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, source, "-lm"], check=True)
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.origin_port = int(self.process.stdout.readline())

    def run(self, port, total, sizes, slow):
        numbers = [port, CLIENTS, total, *(number for pair in sizes for number in pair), slow]
        self.process.stdin.write(" ".join(map(str, numbers)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(program, folder, load, memory, case):
    """The most RSS in bytes, the bound, and what the load says."""
    *sizes, slow = case
    connections = CLIENTS + slow
    config = folder / "edge.toml"
    config.write_text(
        f'listen = ["127.0.0.1:0"]\n[cache]\nmemory = "{memory}"\n[limits]\nconnections = {connections}\n'
        f'[log.access]\nlines = "off"\n'
        f'[[site]]\nhosts = ["*"]\norigins = ["http://127.0.0.1:{load.origin_port}"]\n'
    )
    edge = subprocess.Popen([program, "serve", "--config", config], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(re.match(r"listening \S*:(\d+)", edge.stdout.readline())[1])
        said = load.run(port, 3 * bytes_of(memory) // 2, sizes, slow)
        most = status_kib(edge.pid, "VmHWM") * KIB
    finally:
        edge.terminate()
        edge.wait()
    bound = bytes_of(memory) * 17 // 16 + connections * (576 + HEAD_SIZE_KIB) * KIB + 8 * MIB + 64 * MIB
    return most, bound, said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, default=PROGRAM)
    parser.add_argument("--memory", default="64MiB,512MiB")
    parser.add_argument("--cases", default="", help="those whose name has this")
    asked = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        load = Load(folder)
        print(f"{'case':28}{'memory':>8}{'RSS MiB':>10}{'bound':>8}  through the store")
        for memory in asked.memory.split(","):
            for name in (name for name in CASES if asked.cases in name):
                most, bound, said = measure(asked.program, folder, load, memory, CASES[name])
                is_good = most <= bound and said.startswith("stored")
                over += not is_good
                print(f"{name:28}{memory:>8}{most / MIB:>10.0f}{bound / MIB:>8.0f}  {said}{'' if is_good else '  OVER'}", flush=True)
        load.end()
    sys.exit(over > 0)


if __name__ == "__main__":
    main()
