#!/usr/bin/env python3
"""Whether admission by size gains bytes: S3-FIFO over a trace, each new object admitted with probability exp(-size / c).

    tests/bench/size_admission.py TRACE.csv.xz      # lines of time,object,size; the first may name them

Prints the shares of requests and of bytes that are answered, at 1 % and 10 % of the footprint, for c as multiples of the mean size
(Berger et al., AdaptSize, NSDI 2017, and Wikimedia's exp policy). `all` admits everything. The order is the plain one of the paper
(Yang et al., SOSP 2023): a window of a tenth, to the main part at the second hit, ghosts for as many bytes as are held. The chance
is a hash of object and number of the request, so each run prints the same.

The figures of AdaptSize stand in docs/eviction.md.
"""
import csv
import hashlib
import io
import lzma
import math
import sys
from collections import OrderedDict


def read(path):
    with lzma.open(path, "rt") as file:
        for row in csv.reader(file):
            if row and row[-1].strip().isdigit():
                yield row[1], max(int(row[2]), 1)


def chance(name, number):
    digest = hashlib.blake2b(f"{name} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def replay(requests, capacity, c):
    window, main, ghosts = OrderedDict(), OrderedDict(), OrderedDict()  # name -> [size, hits]
    held = {"window": 0, "main": 0, "ghosts": 0}
    hits = hit_bytes = 0

    def evict_main():
        while held["main"] > capacity * 9 // 10:
            name, (size, count) = main.popitem(last=False)
            if count > 0:
                main[name] = [size, count - 1]
            else:
                held["main"] -= size

    def evict_window():
        while held["window"] + held["main"] > capacity:
            if not window:
                name, (size, _) = main.popitem(last=False)
                held["main"] -= size
                continue
            name, (size, count) = window.popitem(last=False)
            held["window"] -= size
            if count > 1:
                main[name] = [size, 0]
                held["main"] += size
                evict_main()
            else:
                ghosts[name] = size
                held["ghosts"] += size
                while held["ghosts"] > capacity:
                    held["ghosts"] -= ghosts.popitem(last=False)[1]

    for number, (name, size) in enumerate(requests):
        entry = window.get(name) or main.get(name)
        if entry:
            entry[1] = min(entry[1] + 1, 3)
            hits, hit_bytes = hits + 1, hit_bytes + entry[0]
            continue
        if size > capacity // 10 or c and chance(name, number) > math.exp(-size / c):
            continue
        if name in ghosts:
            held["ghosts"] -= ghosts.pop(name)
            main[name], held["main"] = [size, 0], held["main"] + size
            evict_main()
        else:
            window[name], held["window"] = [size, 0], held["window"] + size
        evict_window()
    return hits / len(requests), hit_bytes / sum(size for _, size in requests)


def main():
    requests = list(read(sys.argv[1]))
    sizes = dict(requests)
    footprint, mean = sum(sizes.values()), sum(sizes.values()) / len(sizes)
    print(f"{len(requests)} requests, {len(sizes)} objects, mean {mean:.0f} bytes")
    print(f"{'c':>12} {'1 %: requests':>14} {'bytes':>7} {'10 %: requests':>15} {'bytes':>7}")
    for factor in [None, 100, 30, 10, 3, 1, 0.3]:
        cells = [replay(requests, int(footprint * share), factor and factor * mean) for share in (0.01, 0.1)]
        (a, b), (x, y) = cells
        print(f"{'all' if factor is None else f'{factor} means':>12} {a:14.1%} {b:7.1%} {x:15.1%} {y:7.1%}")


main()
