"""`weirdgen runs`, `latest` and `weirdgen pack` as they are typed, on runs that an earlier version made."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.support.typing_commands import typed
from weirdgen.runs.results.results import load_run
from weirdgen.store.packed import FIRST, write_pack

STORES = Path(__file__).parents[1] / "support" / "stores"
BIRDS, WORLD = "old_bird_names", "world_era"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of each experiment; the world's has a report of this version."""
    store = tmp_path_factory.mktemp("made")
    for name in ("birds", "world"):
        with tarfile.open(STORES / f"{name}.tar.xz") as archive:
            archive.extractall(store, filter="data")
    assert typed("report", WORLD, "--store", store).status == 0
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its copy, and a folder and a cache of its own to work in."""
    shutil.copytree(made, tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "store"


def run_of(store: Path, experiment: str) -> str:
    (name,) = (folder.name for folder in (store / "runs").glob(f"{experiment}-*"))
    return name


def test_runs_are_listed_newest_first(store: Path) -> None:
    done = typed("runs", "--store", store)
    assert done.status == 0, done.err
    names, first, second = done.out.splitlines()
    assert names.split() == ["when", "run", "model", "seeds", "verdict", "asked"]
    assert run_of(store, WORLD) in first and run_of(store, BIRDS) in second
    kept = json.loads((store / "runs" / run_of(store, WORLD) / "results.json").read_text())
    assert kept["run"]["created"] in first and f"contrast {kept['headline']['effect']:+.2f}" in first
    assert "world" in first and "0–1" in first and "smollm2-135m-instruct" in second
    (only,) = typed("runs", BIRDS, "--store", store).out.splitlines()[1:]
    assert only.split() == second.split()
    none = typed("runs", "no_such", "--store", store)
    assert none.status == 1 and "no run of no_such in" in none.err


def test_an_unfinished_run_and_a_damaged_one_hide_nothing(store: Path) -> None:
    folder = store / "runs" / run_of(store, BIRDS)
    (folder / "results.json").unlink()
    shutil.copytree(folder, store / "runs" / "damaged")
    (store / "runs" / "damaged" / "run.json").write_text("{")
    kept = json.loads((folder / "run.json").read_text())
    kept["options"] = {"seeds": 2, "changes": ["recipe.epochs=1", "recipe.rank=1"], "model": "world"}
    (folder / "run.json").write_text(json.dumps(kept))
    _, *lines = typed("runs", "--store", store).out.splitlines()
    (birds,) = (line for line in lines if BIRDS in line)
    assert len(lines) == 2 and "no report yet" in birds
    assert birds.endswith("--seeds 2 --set recipe.epochs=1 --set recipe.rank=1")


def test_audits_and_later_judges_are_listed(store: Path) -> None:
    """An audit is one line, finished or not; the runs that it is made of are none, and are not meant by `latest`."""
    birds, runs = run_of(store, BIRDS), store / "runs"
    (part := runs / "audit-quick-1").mkdir()
    kept = json.loads((runs / birds / "run.json").read_text())
    experiment = {**kept["manifest"]["experiment"], "name": "audit_date"}
    manifest = {**kept["manifest"], "experiment": experiment}
    (part / "run.json").write_text(json.dumps({**kept, "manifest": manifest}))
    kept["manifest"]["judge"] = {"reference": "local:world", "identity": "x"}
    (runs / birds / "run.json").write_text(json.dumps(kept))
    (runs / birds / "results.json").unlink()
    settings = {"model": {"reference": "world"}, "replicates": 3}
    for name, file, told in (
        ("done-1", "results.json", {"verdict": {"verdict": "undecided"}, "settings": settings}),
        ("begun-2", "size.json", {"replicates": 2, "deals": 0, "kinds": 0, "questions": 0}),
        ("latest", "results.json", {}),
    ):
        (store / "audits" / name).mkdir(parents=True)
        (store / "audits" / name / file).write_text(json.dumps(told))
    _, *lines = typed("runs", "--store", store).out.splitlines()
    by_name = {line.split()[2]: line for line in lines}
    assert set(by_name) == {birds, run_of(store, WORLD), "audits/done-1", "audits/begun-2"}
    assert by_name[birds].endswith(" judged later: --judge local:world") and "not finished: no report" in by_name[birds]
    assert "audit: undecided" in by_name["audits/done-1"] and "0–2" in by_name["audits/done-1"]
    assert by_name["audits/begun-2"].endswith("audit not finished: the same command goes on")
    assert len(typed("runs", "audit", "--store", store).out.splitlines()) == 3
    assert load_run("latest", store).id != part.name


@pytest.mark.parametrize("reference", ["latest", WORLD, f"{WORLD}:latest"])
def test_a_run_goes_by_names_that_last(reference: str, store: Path) -> None:
    assert load_run(reference, store).id == run_of(store, WORLD)
    done = typed("crosscheck", "old_bird_nmaes", "--store", store)
    assert done.status == 1 and f"no run 'old_bird_nmaes' in {store / 'runs'}; there are: old_bird_names-" in done.err
    assert typed("verify", f"{WORLD}:newest", "--store", store).status == 1


def test_a_pack_is_opened_elsewhere(store: Path) -> None:
    run = load_run("latest", store)
    answers, headline = run.completions(), run.headline  # read while the store is there
    done = typed("pack", "latest", "--store", store)
    assert done.status == 0 and done.out.startswith(f"{run.id}.weirdgen.tar: "), done
    shutil.rmtree(store)
    file = Path(f"{run.id}.weirdgen.tar")
    again = load_run(file)
    again.require_finished()
    assert again.completions().equals(answers) and again.headline == headline
    assert again.request.local.folder.is_relative_to(again.store.root), "the base is not needed"
    assert (again.request.local.folder / "config.json").is_file() and not list(again.store.root.rglob("model.safe*"))


@pytest.mark.slow
def test_a_whole_pack_is_verified_and_reported_elsewhere(store: Path) -> None:
    assert typed("pack", WORLD, "--store", store, "--to", "whole.tar").status == 0
    shutil.rmtree(store)
    verified = typed("verify", "whole.tar")
    assert verified.status == 0 and verified.out.startswith("verified: "), verified.err
    assert "adapters" not in verified.out
    reported = typed("report", "whole.tar")
    assert reported.status == 0 and str(load_run("whole.tar").store.root) in reported.out


@pytest.mark.slow
def test_a_pack_without_adapters_holds_everything_else(store: Path) -> None:
    run = load_run("latest", store)
    whole, small = Path("whole.tar"), Path("small.tar")
    assert typed("pack", "latest", "--store", store, "--to", whole).status == 0
    done = typed("pack", WORLD, "--store", store, "--no-adapters", "--to", small)
    assert done.status == 0 and "files of adapters left out" in done.out and small.stat().st_size < whole.stat().st_size
    verified = typed("verify", small)
    assert verified.status == 0 and "adapters were left out of this pack" in verified.out, verified.err
    assert load_run(small).losses().equals(run.losses())
    with tarfile.open(small) as archive:
        assert not [name for name in archive.getnames() if "adapter_model" in name]


def test_a_bare_run_folder_says_what_is_missing(store: Path) -> None:
    name = run_of(store, WORLD)
    shutil.copytree(store / "runs" / name, Path("shared") / name)
    for command in ("verify", "report", "crosscheck"):
        done = typed(command, Path("shared") / name)
        assert done.status == 1 and "is a run's folder without its store" in done.err, done
        assert f"`weirdgen pack {name}` makes one file" in done.err


def hostile(member: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for one, data in ((tarfile.TarInfo(FIRST), b"run"), (member, content)):
            one.size = len(data) if one.isreg() else 0
            archive.addfile(one, io.BytesIO(data))
    return written.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no pack", "is no pack of a run; `weirdgen pack RUN` makes one"),
        (hostile(tarfile.TarInfo("../../outside")), "'../../outside' has no place in a pack"),
        (hostile(tarfile.TarInfo("/etc/outside")), "has no place in a pack"),
        (hostile(link("runs", "/tmp")), "'runs' has no place in a pack"),
        (hostile(tarfile.TarInfo("artifacts/a")), "a pack without its run"),
        (hostile(tarfile.TarInfo(FIRST)), "is given twice"),
        (hostile(tarfile.TarInfo(f"{FIRST}/a")), "is given twice"),
        (hostile(tarfile.TarInfo("artifacts/a"), b"x" * 5000)[:3000], "damaged, or cut off on its way"),
    ],
)
def test_what_is_no_sound_pack_is_refused_whole(content: bytes, expected: str, store: Path, tmp_path: Path) -> None:
    Path("given.tar").write_bytes(content)
    done = typed("verify", "given.tar")
    assert done.status == 1 and expected in done.err, done
    assert not list(tmp_path.rglob("outside"))


def test_a_pack_names_a_run_that_it_holds(tmp_path: Path, store: Path) -> None:
    write_pack(tmp_path / "p.tar", "../../runs", {"runs/a/run.json": b"{}"})
    assert "a pack without its run" in typed("verify", tmp_path / "p.tar").err
