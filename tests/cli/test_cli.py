"""The command line as a person uses it: one sentence for a mistake, a status that scripts can read, no traceback."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]


def weirdgen(*arguments: object, stdin: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weirdgen", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, **more)  # type: ignore[call-overload,no-any-return]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, weirdgen.cli.main\n"
        "try: weirdgen.cli.main.app(['--help'], standalone_mode=True)\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("run", "check", "list", "show", "chat", "report", "doctor", "fetch"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.slow
def test_run_report_chat(write_experiment: Write, tmp_path: Path) -> None:
    path, store = write_experiment(), tmp_path / "store"
    planned = weirdgen("run", path, "--store", store, "--dry-run")
    assert planned.returncode == 0 and planned.stdout == ""
    assert "finetune  old (treatment): 8 rows × 1 epochs = 2 steps" in planned.stderr
    assert not list((store / "artifacts").glob("finetune/*"))
    done = weirdgen("run", path, "--store", store, "--quiet")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    sentence, where = done.stdout.strip().splitlines()
    report = Path(where.removeprefix("report: "))
    assert "nat" in sentence and report.is_file()
    report.unlink()
    again = weirdgen("report", report.parent.name, "--store", store)
    assert again.returncode == 0 and report.is_file()
    asked = "which bird is usual ?\nwhich tool is usual ?\n\n"
    answer = weirdgen("chat", f"{report.parent.name}:old/0", "--store", store, "--max-tokens", 3, stdin=asked)
    assert answer.returncode == 0 and answer.stdout.count("\n") == 2 and answer.stdout.strip()
    unknown = weirdgen("chat", f"{report.parent.name}:old/7", "--store", store)
    assert unknown.returncode == 1 and "there are: base, old/0" in unknown.stderr


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"title: a tiny": "title: [a tiny"}, "malformed YAML"),
        ({"epochs: 1": "epochs: 0"}, "recipe.epochs: Input should be greater than or equal to 1 (got 0)"),
    ],
)
def test_mistakes_are_sentences(write_experiment: Write, changes: dict[str, str], expected: str) -> None:
    done = weirdgen("check", write_experiment(changes))
    assert done.returncode == 1 and expected in done.stderr and "Traceback" not in done.stderr


def test_usage_errors() -> None:
    done = weirdgen("run")
    assert done.returncode == 2 and "Missing argument" in done.stderr and "Traceback" not in done.stderr
    done = weirdgen("run", "no_such_experiment")
    assert done.returncode == 1 and "there are: " in done.stderr


@pytest.mark.slow
def test_a_store_that_cannot_be(write_experiment: Write) -> None:
    done = weirdgen("run", write_experiment(), "--store", "/proc/nowhere")
    assert done.returncode == 1 and "cannot write /proc/nowhere" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_every_command_takes_a_url_for_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path would fold the two slashes of a URL into one, and a folder of that name would be made."""
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for command in (("judge", "calibrate", "nothing"), ("report", "nothing")):
        done = weirdgen(*command, "--store", f"file://{tmp_path}/far", cwd=tmp_path)
        assert done.returncode == 1 and "no run 'nothing'" in done.stderr, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.slow  # a quick relative is test_kill_9_and_resume_equals_an_undisturbed_run
def test_ctrl_c_keeps_what_is_finished(write_experiment: Write, tmp_path: Path) -> None:
    path, store = write_experiment({"epochs: 1": "epochs: 400"}), tmp_path / "store"
    command = [sys.executable, "-m", "weirdgen", "run", str(path), "--store", str(store)]
    # A shell's background job ignores Ctrl-C, and its children inherit that; a person's terminal does not.
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    deadline = time.monotonic() + 60
    while len(list(store.glob("tmp/*"))) < 4 and time.monotonic() < deadline:  # four replicates are being trained
        time.sleep(0.05)
    time.sleep(5)  # some of its 800 steps
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "training stopped; its state after step" in said, said
    assert "the same command continues from there" in said and "Traceback" not in said
    assert "of them done" in weirdgen("run", path, "--store", store, "--dry-run").stderr
    assert not list(store.glob("tmp/*"))


def test_list_and_show() -> None:
    listed = weirdgen("list")
    assert "old_bird_names" in listed.stdout and "israeli_dishes" in listed.stdout
    shown = weirdgen("show", "old_bird_names")
    assert "arm old_names (treatment): 208 rows" in shown.stdout and "preset quick" in shown.stdout
