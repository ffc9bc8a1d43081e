"""Names in stores, runs and reports of somebody else: nothing is written, followed or removed outside of what is ours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.readers import REQUEST
from weirdgen.errors import StoreError, WeirdgenError
from weirdgen.report.owned import LISTING, require_free, write_listed
from weirdgen.runs.results.stored import find_run, read_run_json
from weirdgen.store.artifacts import MARKER, Store
from weirdgen.store.disk import own_folder, write_whole
from weirdgen.store.remote import stays_inside


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:\\x", "a\\..\\x", "", ".", "a\0b"])
def test_names_that_lead_out_are_known(name: str) -> None:
    assert not stays_inside(name) and stays_inside("runs/a/figures/b..svg")


def test_a_listing_of_a_url_store_cannot_write_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "far").mkdir()
    store = Store(f"file://{tmp_path / 'far'}")
    root = str(tmp_path / "far")
    victim = tmp_path / "cache" / "victim"
    victim.parent.mkdir(exist_ok=True)
    victim.write_text("mine")
    monkeypatch.setattr(store.remote._fs, "find", lambda _: [f"{root}/runs/x/../../../../victim"])
    with pytest.raises(StoreError, match="points outside the store"):
        store.on_disk(store.root / "runs" / "x")
    (tmp_path / "far" / "runs" / "x").mkdir(parents=True)
    (tmp_path / "far" / "runs" / "x" / "victim").write_text("theirs")
    monkeypatch.undo()
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    (store.root / "runs").mkdir(parents=True)
    (store.root / "runs" / "x").symlink_to(victim.parent)
    with pytest.raises(StoreError, match=r"points outside the store \(a link"):
        store.pull(store.root / "runs" / "x" / "victim", anew=True)
    assert victim.read_text() == "mine"


def test_keys_and_markers_do_not_become_foreign_paths(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for key in ("../../x", "a/b", "/x", ".."):
        with pytest.raises(StoreError, match="is not an artifact key"):
            store.folder("dataset", key)
    with store.create("dataset", "k", {}) as folder:
        (folder / "rows.jsonl").write_text("{}")
    marker = store.folder("dataset", "k") / MARKER
    for files in ({"../../../x": "0"}, ["rows.jsonl/../../x"], 7, {"a": {"b": 1}}):
        marker.write_text(json.dumps({"files": files}))
        with pytest.warns(UserWarning, match="damaged|missing"):
            assert store.marker("dataset", "k") is None
    marker.write_text("[" * 100_000)
    with pytest.warns(UserWarning, match="damaged"):
        assert store.marker("dataset", "k") is None


def test_a_report_touches_only_what_a_report_wrote(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    mine = {"figures/holiday.png": b"mine", "figures/overview.svg": b"mine", "index.html": b"mine"}
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeirdgenError, match=r"no report wrote it"):
        require_free(tmp_path, ["overview.json", "index.html"])
    write_listed(tmp_path, {"figures/a.svg": b"a", "figures/b.svg": b"b"})
    (tmp_path / "figures" / "b.svg").write_bytes(b"edited by a person")
    require_free(tmp_path, ["figures/a.svg"])
    listing = json.loads((tmp_path / LISTING).read_text())
    listing["files"]["../outside"] = "0" * 64
    (tmp_path / LISTING).write_text(json.dumps(listing))
    write_listed(tmp_path, {"figures/c.svg": b"c"})
    left = {path.name for path in (tmp_path / "figures").iterdir()}
    assert left == {"holiday.png", "overview.svg", "b.svg", "c.svg"}, "a.svg was ours and goes; what was changed stays"
    assert all((tmp_path / name).read_bytes() == content for name, content in mine.items())


def test_links_are_not_followed_when_something_is_written(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "pictures")
    with pytest.raises(StoreError, match=r"a link to .*pictures"):
        own_folder(tmp_path / "run")
    assert own_folder(tmp_path / "new") == tmp_path / "new"


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "../../x"},
        {"data": {"../../x": "0" * 64}},
        {"data": {"old": "../../../x"}},
        {"ordinary": {"/x": 1}},
        {"seeds": [1.5]},
        {"seeds": 3},
        {"samples": "many"},
        {"experiment": {"name": "../../x"}},
        {"experiment": {"name": "x", "judges": {"../../x": {}}}},
        {"experiment": {"name": "x", "arms": {"a/b": {}}}},
        {"experiment": {"name": "x", "conditions": ["a"]}},
        {"experiment": []},
    ],
)
def test_names_of_a_foreign_run_are_checked_before_they_are_paths(tmp_path: Path, change: dict[str, Any]) -> None:
    request = json.loads(REQUEST)
    (tmp_path / "run.json").write_text(json.dumps(request))
    assert read_run_json(tmp_path) == request
    request["manifest"] |= change
    (tmp_path / "run.json").write_text(json.dumps(request))
    with pytest.raises(StoreError, match=r"run\.json is damaged or not ours: manifest\."):
        read_run_json(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "null", '{"manifest": 1}', '{"manifest": {}}'])
def test_a_run_json_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StoreError, match=r"run\.json is damaged"):
        read_run_json(tmp_path)


@pytest.mark.parametrize("reference", ["../x", "a/../../x", "/nowhere/x", "x\0y", "y" * 5000])
def test_the_id_of_a_run_is_no_path(tmp_path: Path, reference: str) -> None:
    with pytest.raises(StoreError, match=r"no run|neither a run folder"):
        find_run(reference, tmp_path / "store")


def test_a_home_of_nobody_is_no_home(tmp_path: Path) -> None:
    from weirdgen.config.load import read_experiment

    with pytest.raises(StoreError, match="neither a run folder"):
        find_run("~nobody-of-this-name/x", tmp_path)
    with pytest.raises(WeirdgenError, match="nobody-of-this-name"):
        read_experiment("~nobody-of-this-name/x.yaml")


def test_another_hosts_temporary_folders_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web")
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = {f"web-1-{dead.pid}-aaaaaaaa": True, f"my-web-{dead.pid}-aaaaaaaa": True, f"web-{dead.pid}-aaaaaaaa": False}
    (tmp_path / "tmp").mkdir()
    for name in names:
        (tmp_path / "tmp" / name).mkdir()
    Store(tmp_path).require_writable()
    assert {name: (tmp_path / "tmp" / name).exists() for name in names} == names


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_have_the_mode_that_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "f", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == mode
