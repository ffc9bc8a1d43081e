"""A store at a URL: two machines (two caches) that share nothing but the far side agree, and nothing is made twice."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import weirdgen
from weirdgen.errors import StoreError
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.reporting import report_run
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import require_verified, verify
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import MARKER, Store
from weirdgen.store.remote import Remote
from weirdgen.store.table import COMPACT_PARTS, open_table

Machine = Callable[[str], None]


@pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.slow), "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path / 'far'}"
        return
    from fsspec.implementations.memory import MemoryFileSystem

    yield "memory://bucket/prefix"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Be another machine: with a cache of its own."""

    def change(name: str) -> None:
        monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / name))

    return change


def test_a_folder_made_on_one_machine_is_there_on_another(url: str, be: Machine) -> None:
    be("a")
    with Store(url).create("finetune", "k", {"x": 1}) as folder:
        (folder / "step").mkdir()
        (folder / "step" / "weights").write_bytes(b"w" * 1000)
    be("b")
    store = Store(url)
    marker = store.marker("finetune", "k")
    assert marker is not None and marker["inputs"] == {"x": 1}
    assert not (store.folder("finetune", "k") / "step" / "weights").exists(), "files come when they are needed"
    assert (store.artifact("finetune", "k") / "step" / "weights").read_bytes() == b"w" * 1000
    assert store.marker("finetune", "nothing") is None


def test_a_marker_is_sent_last(url: str, be: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that dies while it sends leaves no artifact; the next one sends it whole."""
    be("a")
    sent: list[str] = []
    push = Remote.push

    def dies(self: Remote, file: Path, name: str) -> None:
        if name.endswith(MARKER):
            raise StoreError("the line is cut")
        sent.append(name)
        push(self, file, name)

    monkeypatch.setattr(Remote, "push", dies)
    with pytest.raises(StoreError, match="the line is cut"), Store(url).create("finetune", "k", {}) as folder:
        (folder / "weights").write_bytes(b"half")
    assert sent == ["artifacts/finetune/k/weights"] and Store(url).marker("finetune", "k") is None
    monkeypatch.setattr(Remote, "push", push)
    be("b")
    assert Store(url).marker("finetune", "k") is None
    with Store(url).create("finetune", "k", {}) as folder:
        (folder / "weights").write_bytes(b"whole")
    be("c")
    store = Store(url)
    assert store.marker("finetune", "k") and (store.artifact("finetune", "k") / "weights").read_bytes() == b"whole"


def test_rows_of_several_machines_come_together_and_are_compacted(url: str, be: Machine) -> None:
    for machine in "ab":
        be(machine)
        with open_table(Store(url), "sample", "t", {}, unique=("i",)) as table:
            for i in range(COMPACT_PARTS):
                table.append({"i": 100 * (machine == "b") + i})
                table.flush()
    be("c")
    table = open_table(Store(url), "sample", "t", {}, unique=("i",))
    assert sorted(table.read()["i"]) == [*range(COMPACT_PARTS), *range(100, 100 + COMPACT_PARTS)]
    table.compact()
    far = [name for name in Remote(url).names("artifacts/sample/t") if name.endswith(".parquet")]
    assert len(far) == 1
    be("a")  # which still has its old parts
    again = open_table(Store(url), "sample", "t", {}, unique=("i",))
    assert len(again.read()) == 2 * COMPACT_PARTS
    assert [str(part.relative_to(Store(url).root)) for part in again.folder.glob("part-*")] == far


@pytest.mark.slow
def test_a_run_begun_on_one_machine_is_finished_on_another(
    url: str, be: Machine, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = str(write_experiment())
    be("a")
    first = weirdgen.run(path, store=url)
    be("b")
    store = Store(url)
    assert all(work.missing == 0 for work in workload(make_plan(resolve(path), store)))
    adapters = list((store.root / "artifacts" / "finetune").rglob("*.safetensors"))
    assert adapters == [], "planning needs no adapters"
    again = load_run(first.id, url)
    pd.testing.assert_frame_equal(again.completions(), first.completions())
    pd.testing.assert_frame_equal(again.contrasts(), first.contrasts())
    assert json.loads((again.folder / "results.json").read_text())["headline"] == first.estimated.headline
    more = weirdgen.run(path, store=url, samples=10)  # adapters come over for this
    assert len(more.completions()) == 5 * 10
    alone = weirdgen.run(path, store=tmp_path / "alone", samples=10)
    pd.testing.assert_frame_equal(more.completions(), alone.completions())


@pytest.mark.slow
def test_what_is_written_after_a_run_is_sent_and_the_newer_file_is_taken_over(
    url: str, be: Machine, write_experiment: Callable[..., Path]
) -> None:
    path = str(write_experiment())
    be("a")
    run = weirdgen.run(path, store=url)
    be("b")
    there = load_run(run.id, url)
    assert there.report.read_bytes() == run.report.read_bytes()
    assert require_verified(verify(run.id, url)).startswith("verified: ")
    report_run(there, ("pdf",))
    labels = there.folder / "labels" / "is_target.csv"
    with there.store.writing(labels.parent):
        labels.write_text("of b")
    be("a")
    again = load_run(run.id, url)
    assert (again.folder / "results.json").read_bytes() == (there.folder / "results.json").read_bytes()
    assert list((again.folder / "figures").glob("*.pdf"))
    assert (again.folder / "labels" / "is_target.csv").read_text() == "of b"
    (again.folder / "labels" / "is_target.csv").write_text("of a, and killed before it was sent")
    assert (load_run(run.id, url).folder / "labels" / "is_target.csv").read_text().startswith("of a")


def test_a_url_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Protocol not known: nonsense; use a folder, s3://BUCKET/PREFIX"):
        Store("nonsense://bucket")
    if importlib.util.find_spec("s3fs") is None:
        with pytest.raises(StoreError, match=r"pip install s3fs"):
            Store("s3://bucket/prefix")
    (tmp_path / "plain").write_text("a file where a folder should be")
    table = open_table(Store(f"file://{tmp_path}/plain/store"), "sample", "t", {}, unique=("i",))
    with pytest.raises(StoreError, match=r"Check the address, the credentials and the network"), table:
        table.append({"i": 1})
