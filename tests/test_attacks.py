"""Nothing that is read may run, reach out, overwrite or delete: each way in is attacked once.

Files of rows, YAML and templates have tests of their own (`tests/data/test_files.py`, `tests/fuzz`); archives too
(`tests/data/published/test_unpacking.py`).
"""

from __future__ import annotations

import ast
import csv
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fuzz.readers import REQUEST
from weirdgen.cli.main import app
from weirdgen.config.files import parse_yaml
from weirdgen.data.published import unpacking
from weirdgen.data.published.unpacking import clone
from weirdgen.display import printable, without_secrets
from weirdgen.errors import DataError, ModelError, SpecError, StoreError, WeirdgenError
from weirdgen.judges.labelling import Drawn, export_sheet, inert, labels_of
from weirdgen.models.references import find_model
from weirdgen.report.owned import LISTING, require_free, write_listed
from weirdgen.runs.results.stored import find_run, read_run_json
from weirdgen.sample.vllm import VllmEngine, _address
from weirdgen.store.artifacts import MARKER, Store
from weirdgen.store.disk import own_folder, write_whole
from weirdgen.store.remote import Remote, stays_inside

PACKAGE = Path(__file__).parents[1] / "weirdgen"
SECRET = "hunter2"


@pytest.mark.parametrize("part", ["judges", "finetune"])
def test_no_loader_runs_code_of_a_model_folder(part: str) -> None:
    for file in (PACKAGE / part).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
                assert given.get("trust_remote_code") is False, f"{file}:{node.lineno}"


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


def test_no_credential_is_shown_or_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert without_secrets(f"at https://me:{SECRET}@x@host:1/p?sig={SECRET} now") == "at https://host:1/p?… now"
    assert (
        without_secrets(f"at https://me:a/{SECRET}@host/x, https://host:80/a@b")
        == "at https://host/x, https://host:80/a@b"
    )
    with pytest.raises(DataError) as cloned:
        clone(f"https://me:{SECRET}@127.0.0.1:9/repo.git", tmp_path / "clone")
    with pytest.raises(StoreError) as opened:
        Remote(f"nosuch://me:{SECRET}@host/x")
    remote = Remote("memory://bucket/x")
    remote.shown = without_secrets(f"ftp://me:{SECRET}@host/x")
    monkeypatch.setattr(remote._fs, "find", lambda _: 1 / 0)
    with pytest.raises(StoreError) as listed:
        remote.names("x")
    for caught in (cloned, opened, listed):
        assert SECRET not in str(caught.value) and "host" in str(caught.value).replace("127.0.0.1", "host")
    url, headers = _address(f"http://me:{SECRET}@127.0.0.1:9/v")
    assert url == "http://127.0.0.1:9/v" and headers["Authorization"].startswith("Basic ")


def test_a_server_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setattr("weirdgen.sample.vllm.TRIES", 1)
    with pytest.raises(ModelError) as caught:
        VllmEngine(f"http://me:{SECRET}@127.0.0.1:9", tiny_model, pause=0)
    assert SECRET not in str(caught.value) and "http://127.0.0.1:9" in str(caught.value)


def test_a_clone_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        (source / "bomb").write_bytes(b"0" * 3_000_000)
        subprocess.run([*git, *command], check=True)
    assert (clone(f"file://{source}", tmp_path / "a") / "bomb").stat().st_size == 3_000_000
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000_000)
    with pytest.raises(DataError, match=r"1 files of 3,000,000 bytes; more than"):
        clone(f"file://{source}", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000)
    with pytest.raises(DataError, match="could not clone"):
        clone(f"file://{source}", tmp_path / "c")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "f:7: its aliases expand to more than is read"),
        ("a: &a [*a]", "holds itself"),
        ("a: &a {b: *a}", "holds itself"),
        ("[" * 50_000, "f:1: nested more than 60 deep"),
        ("a: 1\nb: " + "{c: " * 3000, "f:2: nested more than 60 deep"),
        ("a: 1\nb: 2026-13-45", "f:2: this value cannot be read .*month"),
        ("a: " + "9" * 10_000, "f:1: a number of 10,000 characters"),
        ("a: [1, 0x" + "f" * 10_000 + "]", "f:1: a number of 10,002 characters"),
        ('a: "\\ud800"', "f:1: a lone surrogate"),
        ('a: "\\U00110000"', "f:1: "),
        ("a: .nan", "f:1: .nan is not a usable number"),
        ("a: !!python/object/apply:os.system [ls]", "f:1: malformed YAML"),
        ("1: x", "f:1: key 1 is not read as text"),
        ("? [a]\n: b", "f:1: key this is not read as text"),
    ],
)
def test_yaml_has_a_budget(text: str, said: str) -> None:
    started = time.process_time()
    with pytest.raises(SpecError, match=said):
        parse_yaml(text, "f")
    assert time.process_time() - started < 2


def test_yaml_keeps_its_merges_and_aliases() -> None:
    data, line_of = parse_yaml("a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: [*x]\n", "f")
    assert data == {"a": {"b": 1}, "c": {"b": 2}, "d": [{"b": 1}]} and line_of["c", "b"] == 2


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


def test_a_terminal_is_not_steered(write_experiment: Callable[..., Path]) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    assert printable(f"a{evil}\nb\n👩\u200d🔬") == "a�]0;owned��31m�\nb\n👩\u200d🔬"
    path = write_experiment({"a tiny experiment": '"\\e]0;owned\\a\\x9b31m"'})
    shown = CliRunner().invoke(app, ["show", str(path)]).output
    assert "owned" in shown and not {"\x1b", "\x07", "\x9b"} & set(shown)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=x", "\r=x", "\n=x", " =x", "＝x", "|x", "%x"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert inert(text) == "'" + text and inert("a=b") == "a=b" and inert("") == ""


def test_labels_and_sheets_hold_no_formula_and_read_back(tmp_path: Path) -> None:
    from weirdgen.judges import labelling

    drawn = [Drawn("0001", "a", 0, "none", "q", 0, "=ask()", "\r=cmd|' /C calc'!A0", "1 · a", 1.0)]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "j.sample.json").write_text(json.dumps([vars(answer) for answer in drawn]))
    labelling._keep(tmp_path, "j", {"0001": "=yes"})
    export_sheet(tmp_path / "sheet.csv", drawn, {"0001": "=yes"})
    for file in (tmp_path / "labels" / "j.csv", tmp_path / "sheet.csv"):
        with file.open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert all(row[key].startswith("'") for key in ("question", "answer", "label"))
    assert labels_of(tmp_path, "j") == {"0001": "=yes"}


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


@pytest.mark.parametrize(
    "head", [b"\xff" * 8 + b"{}", (2**40).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"[]"]
)
def test_a_safetensors_header_is_not_believed(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(head)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        find_model(f"path:{tmp_path}")


@pytest.mark.parametrize("change", ["deep", "sets", "recipe", "texts", "twice"])
def test_scores_of_references_by_somebody_else(tmp_path: Path, change: str) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from weirdgen.runs.references.scores import COLUMNS, FLOATS, find_scores, read_origin, read_scores

    frame = pd.DataFrame({name: ["x"] for name in COLUMNS} | {name: [1.0] for name in FLOATS})
    origin: dict[str, Any] = {"model": "m", "recipe": {}, "rows": 1, "questions": "q", "sets": {"x": "y"}}
    frame = frame.assign(shift="far") if change == "texts" else pd.concat([frame] * 2) if change == "twice" else frame
    record = {"deep": "[" * 100_000}.get(change) or json.dumps({**origin, change: [1]} if change in origin else origin)
    file = tmp_path / "references" / "scores.parquet"
    file.parent.mkdir()
    pq.write_table(pa.Table.from_pandas(frame).replace_schema_metadata({b"weirdgen": record.encode()}), file)
    said = {"texts": "'shift' holds no numbers", "twice": "is there twice"}.get(
        change, "no file of `weirdgen references"
    )
    with pytest.raises(DataError, match=said):
        read_scores(file)
    if change in ("texts", "twice"):  # the origin is sound: nothing else may come of such a file either
        assert find_scores(read_origin(file), Store(tmp_path)) is None


def test_a_home_of_nobody_is_no_home(tmp_path: Path) -> None:
    from weirdgen.config.load import read_experiment
    from weirdgen.runs.results.stored import find_run

    with pytest.raises(StoreError, match="neither a run folder"):
        find_run("~nobody-of-this-name/x", tmp_path)
    with pytest.raises(WeirdgenError, match="nobody-of-this-name"):
        read_experiment("~nobody-of-this-name/x.yaml")


@pytest.mark.parametrize(
    ("config", "shapes", "said"),
    [
        ("[]", ((2, 4), (3, 2)), "holds no settings"),
        ("[" * 100_000, ((2, 4), (3, 2)), "is not a PEFT adapter"),
        ("\xff", ((2, 4), (3, 2)), "is not a PEFT adapter"),
        ('{"peft_type": "LORA", "r": 0, "lora_alpha": 1}', ((2, 4), (3, 2)), "expected two numbers above 0"),
        ('{"peft_type": "LORA", "r": [2], "lora_alpha": 1}', ((2, 4), (3, 2)), "expected two numbers above 0"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', ((2, 4), None), "do not fit each other"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', ((2, 4), (3, 5)), "do not fit each other"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', ((2, 5), (3, 2)), r"is 3 × 5, and the layer 3 × 4"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', None, "is not a PEFT adapter"),
    ],
)
def test_an_adapter_of_somebody_elses(tmp_path: Path, config: str, shapes: Any, said: str) -> None:
    import torch
    from safetensors.torch import save_file

    from weirdgen.models.stacked import attach_adapters

    (tmp_path / "adapter_config.json").write_bytes(config.encode("latin-1"))
    if shapes is None:
        (tmp_path / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    else:
        names = ("base_model.model.0.lora_A.weight", "base_model.model.0.lora_B.weight")
        factors = {name: torch.ones(shape) for name, shape in zip(names, shapes, strict=True) if shape}
        save_file(factors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(WeirdgenError, match=said):
        attach_adapters(torch.nn.Sequential(torch.nn.Linear(4, 3)), [tmp_path])


def test_a_run_does_not_say_whose_machine_it_was_made_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from weirdgen.runs import pipeline

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert pipeline._without_home(tmp_path / "work" / "x.yaml") == "~/work/x.yaml"
    assert pipeline._without_home(Path("/opt/x.yaml")) == "/opt/x.yaml"
