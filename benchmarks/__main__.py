"""`python -m benchmarks [NAME…] [--quick]`: run all rows or some, print them, keep them in `benchmarks/results.json`.

Needs the embedded default model (`weirdgen fetch`). The whole of it takes about a quarter of an hour on two idle cores;
`--quick` cuts the work, to see whether everything runs. Rows that cannot run here are listed with the reason.

Each runs in a process of its own: once a library's thread has used torch beside the main one, OpenMP counts more threads
than cores and lets none of them spin, and every later row is slower for it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Setting, print_results, save
from benchmarks.registry import BENCHMARKS, Benchmark


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(b.name for b in BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="less work a row; the figures are rougher")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    arguments = parser.parse_args()
    known = {benchmark.name for benchmark in BENCHMARKS}
    if unknown := sorted(set(arguments.names) - known):
        parser.error(f"{', '.join(unknown)}: expected one of {', '.join(sorted(known))}")
    chosen = [benchmark for benchmark in BENCHMARKS if not arguments.names or benchmark.name in arguments.names]
    if len(chosen) == 1:
        _run(chosen[0], arguments.quick, arguments.out)
        return
    options = ["--out", str(arguments.out), *(["--quick"] if arguments.quick else [])]
    for benchmark in chosen:
        subprocess.run([sys.executable, "-m", "benchmarks", benchmark.name, *options], check=True)


def _run(benchmark: Benchmark, quick: bool, out: Path) -> None:
    """One benchmark, in this process."""
    print(f"\n{benchmark.name}: {benchmark.about}", flush=True)
    if reason := benchmark.missing():
        print(f"  skipped: {reason}")
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="weirdgen-bench-") as scratch:
        results = benchmark.run(Setting.default(Path(scratch), quick))
    print_results(results)
    save(out, results, quick=quick)


main()
