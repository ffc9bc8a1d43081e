"""Run docs/tutorial.ipynb in a store of its own and save it with what it shows: `python -m tools.run_tutorial`.

In: the notebook. Out: the same file, its cells with outputs and figures, without times and without paths of this machine. A cell
that fails is raised, and nothing is saved then.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
SECONDS = 300
"""That one cell may take."""


def executed(folder: Path) -> Any:
    """The notebook with its outputs, run in this folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    before = {name: os.environ.get(name) for name in ("WEIRDGEN_STORE", "PYTHONPATH")}
    os.environ |= {"WEIRDGEN_STORE": str(folder / "store"), "PYTHONPATH": str(NOTEBOOK.parents[1])}
    try:
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell was run
        if cell.cell_type == "code":  # what libraries warn of, with their paths here
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    return notebook


def main() -> None:
    """Run it and save it."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(Path(folder))
        assert folder not in str(notebook), "an output names a folder of this machine"
    nbformat.write(notebook, NOTEBOOK)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
