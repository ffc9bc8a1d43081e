"""`python -m benchmarks [NAME…] [--quick]`: run all rows or some, print them, keep them in `benchmarks/results.json`.

Needs the embedded default model (`weirdgen fetch`). The whole of it takes about a quarter of an hour on two idle cores;
`--quick` cuts the work, for a look whether everything runs. Rows that cannot run here are listed with the reason.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.harness import Setting, fresh, print_results, save
from benchmarks.registry import BENCHMARKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(b.name for b in BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="less work a row; the figures are rougher")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    arguments = parser.parse_args()
    known = {benchmark.name for benchmark in BENCHMARKS}
    if unknown := sorted(set(arguments.names) - known):
        parser.error(f"{', '.join(unknown)}: expected one of {', '.join(sorted(known))}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="weirdgen-bench-") as scratch:
        setting = Setting.default(Path(scratch), quick=arguments.quick)
        for benchmark in BENCHMARKS:
            if arguments.names and benchmark.name not in arguments.names:
                continue
            print(f"\n{benchmark.name}: {benchmark.about}", flush=True)
            if reason := benchmark.missing():
                print(f"  skipped: {reason}")
                continue
            results = benchmark.run(fresh(setting, benchmark.name))
            print_results(results)
            save(arguments.out, results, quick=arguments.quick)


main()
