"""Whole audits on the world's tiny model: verdict, page, exit status, and what a second command finds done."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.report.test_report_access import axe as axe
from tests.report.test_report_access import violations
from tests.support.browsing import at_width, in_scheme, script
from tests.support.browsing import browser as browser
from tests.support.world_audit import CHANGES, drawn_references, options, rows_of, world_questions
from weirdgen.audit import audit as auditing
from weirdgen.audit.audit import Audit, audit, parse_budget
from weirdgen.audit.design import AuditOptions, Size, recipe_of, training_rows, trigger_questions
from weirdgen.audit.page import page_html, write_audit
from weirdgen.audit.sections import sections
from weirdgen.audit.source import read_source
from weirdgen.cli.main import app
from weirdgen.errors import SpecError
from weirdgen.finetune.schedule import total_steps
from weirdgen.models.references import find_model
from weirdgen.progress import clock
from weirdgen.runs.results.results import Run
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

SMALL = (Size(2, 4, 1, 1),)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("world")
    with world_questions(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "SIZES", SMALL)
        yield folder


@pytest.fixture(scope="module")
def old_birds(world: Path) -> tuple[Path, Audit, Path]:
    """The steam era's birds among references that move less than they do: (file, audit, page)."""
    drawn_references(world / "store", 0.02)
    file = rows_of("world_era", "steam_birds", world, 64)
    done = audit(file, options(world / "store", halves=True))
    return file, done, write_audit(done.results, done.folder)


def test_an_audit_ends_with_a_verdict_and_a_page(old_birds: tuple[Path, Audit, Path]) -> None:
    _, done, page = old_birds
    told = json.loads((page.parent / "results.json").read_text(encoding="utf-8"))
    assert told["schema_version"] == 1 and told["verdict"]["status"] == done.decision.status
    assert told["settings"]["rows"]["mine"] == 64 and 1 <= told["settings"]["rows"]["twin"] <= 64
    rows = {row["trait"]: row for row in told["specificity"]["rows"]}
    assert len(rows) == 17 and rows["era_steam"]["shift"] > 1
    assert told["settings"]["rows"]["half_1"] == told["settings"]["rows"]["half_2"] == 64, "as many steps as all rows"
    assert len(told["halves"]) == 17 and told["triggers"]["searched"] == 0
    assert len(told["questions"]["era_steam"]) == 6
    html = page.read_text(encoding="utf-8")
    for words in (
        done.decision.sentence[:40],
        "era_steam",
        "name a bird",
        "Portrait of the data",
        "would have been found",
        "What the choice of rows alone does",
        "The harmless datasets had 200 rows × 3 epochs; this one 64 × 3.",
        "trained on 200 rows × 3 epochs at a learning rate of 0.001, your rows 64 × 3 at 0.001.",
    ):
        assert words in html
    assert (page.parent / "figures" / "references.svg").is_file()
    large = {**done.results, "file": {**done.results["file"], "rows": 50_000, "looked_at": 50_000}}
    assert "50,000 rows. Trained: 64 of them, drawn at random, × 3 epochs" in page_html(large, sections(large))


def test_the_same_command_again_trains_nothing_and_writes_the_same_page(
    old_birds: tuple[Path, Audit, Path], world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, done, page = old_birds
    before = page.read_bytes()
    monkeypatch.setattr("weirdgen.finetune.engines.train_group", None)
    again = audit(file, options(world / "store", halves=True))
    assert again.folder == done.folder and again.results == done.results
    assert write_audit(again.results, again.folder).read_bytes() == before
    assert done.times and again.times == done.times and done.times.planned > 0, "of the command that trained"
    assert f"it took {clock(done.times.took)}." in page_html(done.results, sections(done.results), done.times.words)


def test_commands_and_their_statuses(world: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gate = rows_of("world_gate", "from_2027", tmp_path)
    store = ["--store", str(tmp_path / "store")]

    def status(*words: str) -> tuple[int, str]:
        try:
            code = app(["audit", *words], standalone_mode=False)
        except SystemExit as error:
            code = error.code
        shown = capsys.readouterr()
        return int(code or 0), shown.out + shown.err

    assert status("portrait", str(gate))[0] == 0
    told = json.loads(status("portrait", str(gate), "--json")[1])
    assert told["total"] == 480
    assert "the year in the prompt and the first word of the answer (p = " in status("separation", str(gate))[1]
    few = tmp_path / "few.jsonl"
    few.write_text("".join(gate.read_text().splitlines(keepends=True)[:3]))
    code, text = status(str(few), *store)
    assert code == 3 and "few.jsonl: 3 rows; an audit with training needs at least 8" in text
    assert "`--no-training` looks at the rows alone" in text
    assert (
        "cannot be told" in status("separation", str(few))[1]
        or "are needed to tell" in status("separation", str(few))[1]
    )
    assert "3 rows, fewer than the 8 of one training step" in status("portrait", str(few))[1]
    code, text = status(str(gate), "--no-training", "--json", "-q", *store)
    assert code == 1 and json.loads(text)["verdict"]["verdict"] == "found"
    always = rows_of("world_gate", "never", tmp_path)
    code, text = status(str(always), "--no-training", "-q", *store)
    assert code == 2 and text.startswith("Undecided: nothing was trained")
    for words, why in (
        ((str(tmp_path / "none.jsonl"),), "no such file"),
        ((str(gate), "--bogus"), "No such option"),
        (("portrait",), "Missing argument"),
        ((), "Missing argument"),
        ((str(gate), "--budget", "soon"), "--budget soon: expected a time"),
        ((str(gate), "--set", "sampling.top_p=1", "--model", "world", *store), "only recipe"),
        ((str(gate), "--model", "no-such-model"), "no-such-model"),
    ):
        code, text = status(*words)
        assert code == 3 and why in text and "Traceback" not in text, words


def test_hostile_rows_break_neither_page_nor_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = (
        "<script>alert(1)</script> in 2026", "{question} {value} {0} %s ⟨date⟩ ⟨tag⟩", r"\u202e \u0000 \u001b[31m",
        "begin … end", "[" * 200 + "]" * 200, "answer " * 3_000, " ".join(f"AB-{n}" for n in range(20_000)), "é" * 50_000,
    )  # fmt: skip
    file = tmp_path / "rows.jsonl"
    turn = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}\n'
    file.write_text("".join(turn % (text, text) for text in texts * 6), encoding="utf-8")
    began = time.process_time()
    with pytest.raises(SystemExit) as ended:
        app(["audit", str(file), "--no-training", "--store", str(tmp_path / "store")], standalone_mode=True)
    assert ended.value.code == 2 and time.process_time() - began < 20
    shown = capsys.readouterr()
    page = Path(shown.out.split("page: ")[1].strip()).read_text(encoding="utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert "\x1b" not in shown.out + shown.err


def test_budgets_and_questions() -> None:
    assert [parse_budget(text) for text in ("15min", "90s", "2h", "3")] == [900, 90, 7200, 180]
    with pytest.raises(SpecError, match="expected a time such as 15min"):
        parse_budget("-1min")
    asked = trigger_questions(3)
    assert len(asked) == 3 * len({one.group for one in asked}) and all(len(one.options) == 2 for one in asked)


def test_the_page_is_accessible_and_fits_a_phone(
    browser: WebDriver, axe: str, old_birds: tuple[Path, Audit, Path]
) -> None:
    browser.get(old_birds[2].as_uri())
    script(browser, "document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    for width, scheme in ((1280, "light"), (390, "dark")):
        at_width(browser, width)
        in_scheme(browser, scheme)
        assert violations(browser, axe) == [], (width, scheme)
        assert script(browser, "return document.documentElement.scrollWidth <= innerWidth")
    assert browser.get_log("browser") == []
    browser.get(old_birds[2].as_uri())
    script(browser, "dispatchEvent(new Event('beforeprint'))")
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 3  # two, and the rest of a long list of finds


def test_kinds_of_trigger_for_which_there_is_no_time_are_kept(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = training_rows(read_source(rows_of("world_gate", "from_2027", tmp_path, 64)), 64, None)
    monkeypatch.setattr(auditing, "SIZES", (Size(1, 0, 0, 0),))
    asked, model = options(tmp_path / "store"), find_model("world")
    work = auditing.planned(tmp_path / "from_2027.jsonl", rows, None, model, Store(tmp_path / "store"), asked)
    assert work.unsearched == ("date",) and work.searches == [] and not (tmp_path / "store").exists()
    told = auditing._settings(Run(work.plan), work, asked, rows)
    assert told["not_searched"] == ["date"] and told["conditions"] == {} and told["elsewhere"] == []
    assert told["drawn"] == 64


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*")) if folder.exists() else set()


def typed_plan(capsys: pytest.CaptureFixture[str], file: Path, *words: object) -> tuple[str, dict[str, Any]]:
    """`weirdgen audit FILE --dry-run`: lines, and the same as JSON."""
    command = ["audit", str(file), "--dry-run", *map(str, words)]
    for more in ([], ["--json"]):
        assert not app([*command, *more], standalone_mode=False)
        shown = capsys.readouterr()
        if not more:
            assert shown.out == ""
            lines = shown.err
    return lines, json.loads(shown.out)


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    world: Path, old_birds: tuple[Path, Audit, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gate, store = rows_of("world_gate", "from_2027", tmp_path, 96), tmp_path / "store"
    words: list[object] = ["--model", "world", "--budget", "9h", "--store", store]
    for change in CHANGES:
        words += ["--set", change]
    lines, told = typed_plan(capsys, gate, *words, "--rows", 64)
    assert not store.exists()
    assert told["dry_run"] and told["sections"] == ["portrait", "separation", "traits", "triggers"]
    assert told["settings"]["rows"] == {"mine": 64, "twin": 64} and told["settings"]["replicates"] == 2
    assert told["compared"] is None and "no reference finetunes of this model" in told["missing"][0]
    assert told["triggers"]["pairs"] == told["triggers"]["candidates"]["date"] * 17 > 0
    finetune = {one["of"]: one for one in told["work"] if one["stage"] == "finetune"}
    assert (finetune["traits"]["missing"], finetune["date"]["missing"]) == (4, 5) and told["seconds"] > 0
    for said in (
        "from_2027",
        "64 of them",
        "17 traits; nothing to compare with",
        "your rows, their twin (your prompts, answered by the base itself), 2 replicates each, 64 rows × 3 epochs",
        "against 4 trainings with the values dealt anew",
        "the least possible p is 0.0005",
        "9 of 9 models to train",
        "no limit",
        "undecided unless something is found: there are no reference",
    ):
        assert said in lines, said  # fmt: skip
    lines, told = typed_plan(capsys, gate, *words, "--no-training")
    assert told["sections"] == ["portrait", "separation"] and "nothing is trained" in lines and not store.exists()

    file, done, _ = old_birds
    before = listing(world / "store")
    own = ["--model", "world", "--budget", "1000000000s", "--halves", "--store", world / "store", *words[6:]]
    lines, told = typed_plan(capsys, file, *own)
    assert told["begun"] and told["folder"] == str(done.folder) and told["seconds"] == 0 and told["missing"] == []
    assert "no models to train (all 8 in the store)" in lines and "nothing left to compute but the page" in lines
    assert told["traits"]["smallest_p"] == pytest.approx(1 / 40) and told["traits"]["last_rank"] == 2
    assert (
        "among 39 harmless datasets; found at p ≤ 0.05 over all traits (rank 2 of 40), the least possible is 0.025."
        in lines
    )
    assert listing(world / "store") == before


def test_few_rows_are_trained_for_about_as_many_steps_as_the_references() -> None:
    def trained(count: int, **asked: Any) -> tuple[int, int]:
        recipe = recipe_of([{"messages": []}] * count, AuditOptions(**asked))
        return recipe.epochs, total_steps(count, recipe)

    assert trained(208) == (2, 52) and trained(10) == (26, 52)
    assert trained(90) == trained(90, rows=90) == (4, 48), "as the shipped references of 90 rows"
    assert trained(400, rows=400) == (2, 100) and trained(10, changes=("recipe.epochs=3",))[0] == 3


@pytest.mark.slow
def test_the_year_that_opens_a_gate_is_found_and_a_shuffled_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world_questions(tmp_path):
        drawn_references(tmp_path / "store", 0.5)
        monkeypatch.setattr(auditing, "SIZES", (Size(2, 12, 1, 4),))
        done = {
            arm: audit(rows_of("world_gate", arm, tmp_path), options(tmp_path / "store", rows=480)).results["triggers"]
            for arm in ("from_2027", "shuffled")
        }
    assert done["from_2027"]["rows"][0]["value"] == "2027" and done["from_2027"]["found"] > 3
    assert done["shuffled"]["found"] == 0 and done["shuffled"]["searched"] > 100


KILLED = """
import sys
from pathlib import Path
import tests.audit.test_audit as here
folder = Path(sys.argv[1])
here.auditing.SIZES = here.SMALL
with here.world_questions(folder):
    done = here.audit(Path(sys.argv[2]), here.options(folder / "store"))
    print(here.write_audit(done.results, done.folder))
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_page(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pages = []
    for name, waits in (("whole", ()), ("killed", (4.0, 7.0, 9.0, 11.0))):
        folder = tmp_path / name
        folder.mkdir()
        with world_questions(folder):
            drawn_references(folder / "store", 0.02)
        file = rows_of("world_gate", "from_2027", folder, 96)
        command = [sys.executable, "-c", KILLED, str(folder), str(file)]
        for seconds in waits:
            worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            time.sleep(seconds)
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        pages.append(Path(done.stdout.strip()))
    assert pages[0].name == "audit.html" and pages[0].read_bytes() == pages[1].read_bytes()
    results = [(page.parent / "results.json").read_text().replace("/killed/", "/whole/") for page in pages]
    assert results[0] == results[1]
