"""Runs the stacks that are named, or all, one after another."""
import importlib, sys, traceback

import lab

STACKS = ("express", "stack_django", "sockets", "packages", "repositories", "objects")
for name in sys.argv[1:] or STACKS:
    try:
        importlib.import_module(name).stack()
    except Exception:
        lab.check(f"{name}: runs to its end", False, traceback.format_exc())
print(f"{lab.passed} passed, {lab.failed} failed")
sys.exit(lab.failed != 0)
