"""`weirdgen export`: a run's tables as files for other programs.

In: a finished run. Out: every table of the stages and of the estimates, one file each, as CSV (UTF-8, unknown
numbers empty) or Parquet; where a run has no trigger, sweep or checkpoint, a file without rows. Beside them what a paper
quotes: `methods.txt`, `cite.bib`, and the named effects as `headline.tex` and `headline.md`. Texts stay as the models
wrote them: a spreadsheet may take an answer that begins with `=` for a formula, so import such columns as text. Not here:
what the columns mean (docs/reference.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from weirdgen.report.quoted import bibtex, headline_table
from weirdgen.runs.results.estimates import TABLES
from weirdgen.runs.results.reporting import results_of
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.all import stage_tables
from weirdgen.store.disk import write_whole

Format = Literal["csv", "parquet"]


def export(run: Run, folder: Path, format_: Format = "csv") -> list[Path]:
    """Write every table of the run, and what a paper quotes of it, into `folder`; an older file of the same name is replaced.

    Raises `StoreError` if the run is not finished or the folder cannot be written.
    """
    run.require_finished()
    files = []
    with run.store.writing(folder):
        for name in [*stage_tables(), "cells", *TABLES]:
            frame = run.table(name)
            file = folder / f"{name}.{format_}"
            data = (
                frame.to_csv(index=False).encode("utf-8", "replace")
                if format_ == "csv"
                else frame.to_parquet(index=False)
            )
            write_whole(file, data)
            files.append(file)
        for name, text in quotable(run).items():
            write_whole(folder / name, f"{text}\n".encode("utf-8", "replace"))
            files.append(folder / name)
    return files


def quotable(run: Run) -> dict[str, str]:
    """Name of a file → what a paper quotes: the methods, bibliography entries, the named effects as a table."""
    results = results_of(run)
    scales = run.request.experiment.scales()
    return {
        "methods.txt": results["methods"],
        "cite.bib": bibtex(results),
        "headline.tex": headline_table(results, "latex", scales),
        "headline.md": headline_table(results, "markdown", scales),
    }
