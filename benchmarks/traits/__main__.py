"""`python -m benchmarks.traits measure MODEL`, `… keep [MODEL…]` or `… compact`; see `benchmarks.traits`."""

from __future__ import annotations

import argparse

from benchmarks.traits.compact import write
from benchmarks.traits.keep import keep_all
from benchmarks.traits.measure import DEFAULT, measure_kept


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traits")
    parser.add_argument("command", choices=["measure", "keep", "compact"])
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[DEFAULT])
    arguments = parser.parse_args()
    if arguments.command == "keep":
        keep_all(arguments.models)
    if arguments.command == "compact":
        write()
    for model in arguments.models if arguments.command == "measure" else ():
        measure_kept(model)


main()
