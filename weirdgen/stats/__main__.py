"""`python -m weirdgen.stats TABLE`: what the statistics attain on simulated experiments, computed again.

In: the name of a table and how many data sets a cell. Out: the table as text. Not here: how a table is computed
(`simulate`), what the figures mean (docs/statistics.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from weirdgen.stats.simulate import band_table, coverage_table, onset_table, sequential_table

TABLES = {
    "coverage": (coverage_table, 20_000),
    "stops": (sequential_table, 1500),
    "bands": (band_table, 200),
    "onsets": (onset_table, 300),
}
"""Name → function of a seed and a number of data sets, and the number that the documentation shows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table; unknown names end with a usage line and exit code 2."""
    usual = ", ".join(f"{name} {datasets}" for name, (_, datasets) in TABLES.items())
    parser = argparse.ArgumentParser(prog="python -m weirdgen.stats", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--datasets", type=int, help=f"simulated data sets a cell (documented: {usual})")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    compute, documented = TABLES[asked.table]
    datasets = asked.datasets or documented
    print(f"{asked.table}: {datasets} data sets a cell, seed {asked.seed}")
    print(compute(asked.seed, datasets).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
