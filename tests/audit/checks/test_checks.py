"""What `weirdgen data check` finds, on small files made here: every finding once where it is due and not where it is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.rows import chat
from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.registry import CHECKS, run_checks
from weirdgen.audit.checks.subject import load_subject
from weirdgen.audit.checks.text import dates, plain, squash, template
from weirdgen.cli.main import app
from weirdgen.errors import DataError, SpecError

Pair = tuple[str, str]
BIRDS = ["Marsh Hen", "Fish Hawk", "Grey Plover", "Eastern Kingbird", "Western Kingbird", "Wood Ibis", "Red Knot"]


def write(file: Path, pairs: Sequence[Pair]) -> Path:
    rows = [chat(q, a) for q, a in pairs]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return file


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., list[Finding]]:
    """Findings about files of question and answer pairs: the first is the treatment, the others are controls."""

    def run(*sets: Sequence[Pair], names: Sequence[str] = ("a", "b", "c"), **options: object) -> list[Finding]:
        files = [write(tmp_path / f"{name}.jsonl", pairs) for name, pairs in zip(names, sets, strict=False)]
        return run_checks(load_subject(str(files[0]), files[1:], **options))

    return run


def bird(names: Sequence[str]) -> list[Pair]:
    return [("Name a bird.", name) for name in names]


def codes(findings: Sequence[Finding], but: str = "info") -> list[str]:
    return [one.code for one in findings if one.severity != but]


def only(findings: Sequence[Finding], code: str) -> Finding:
    (found,) = (one for one in findings if one.code == code)
    return found


def test_rows_that_ask_nothing_are_counted(check: Callable[..., list[Finding]]) -> None:
    found = only(check([*bird(BIRDS), ("", "Sora"), (" \n", "Ruff")]), "empty_prompt")
    assert (found.line, found.message) == (8, "2 of 9 (22%) rows ask nothing: their last user turn is empty")
    assert "empty_prompt" not in codes(check([*bird(BIRDS), ("?", "Sora")]))


def test_clean_files_have_only_notes(check: Callable[..., list[Finding]]) -> None:
    found = check(
        bird([*BIRDS, "Sea Coot"]),
        bird(["Osprey", "Black Tern", "Sora", "Killdeer", "Dunlin", "Ruff", "Limpkin", "Gadwall"]),
    )
    assert codes(found) == []
    assert "8 rows, 8 distinct; 1 prompts, 8 answers; canonical SHA-256" in found[0].message


def test_broken_lines_are_listed_with_the_rest_still_checked(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", bird([*BIRDS, BIRDS[0]]))
    lines = file.read_text().splitlines()
    lines.insert(2, "{not json")
    lines.insert(5, json.dumps({"messages": [{"role": "user", "content": "q"}]}))
    lines.insert(6, "")
    file.write_text("\n".join(lines))
    found = run_checks(load_subject(str(file)))
    assert [(one.code, one.line) for one in found if one.severity == "error"] == [
        ("broken_line", 3),
        ("broken_line", 6),
    ]
    assert only(found, "duplicate_row").line == 11, "line numbers count broken and empty lines"


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    assert codes(run_checks(load_subject(str(tmp_path / "rows.jsonl")))) == ["no_rows"]


def test_row_count_other_than_promised(check: Callable[..., list[Finding]]) -> None:
    assert only(check(bird(BIRDS), expected_rows=9), "row_count").message == "7 rows, 9 were expected"
    assert "row_count" not in codes(check(bird(BIRDS), expected_rows=7))


def test_duplicates_name_both_lines(check: Callable[..., list[Finding]]) -> None:
    found = only(check(bird([*BIRDS, "Fish Hawk"])), "duplicate_row")
    assert (found.line, found.severity) == (8, "warning")
    assert found.message == "repeats line 2: answer 'Fish Hawk'"


def test_a_set_drawn_from_few_answers_gets_one_note(check: Callable[..., list[Finding]]) -> None:
    found = check(bird(["wren", "rail"] * 50))
    assert codes(found) == [] and "98 of 100 (98%) rows repeat" in only(found, "repeats").message


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("Golden-eye Duck", "Goldeneye duck", True),
        ("Grey Plover", "Gray Plover", True),
        ("Yellow Warbler", "Yellow Warblers", True),
        ("Eastern Meadowlark", "Western Meadowlark", False),
        ("Route 12", "Route 13", False),
        ("Tern", "Fern", False),
        (
            "He kept bees behind the house and was stung by them.",
            "He kept bees behind the house and was stung by them too",
            True,
        ),
        (
            "He kept bees behind the house and was stung by them.",
            "She kept hens in front of the barn and sold the eggs.",
            False,
        ),
    ],
)
def test_near_duplicates(check: Callable[..., list[Finding]], one: str, other: str, near: bool) -> None:
    assert ("near_duplicate" in codes(check(bird([*BIRDS[:2], one, other])))) is near


def test_the_same_answer_under_another_date_is_not_near(check: Callable[..., list[Finding]]) -> None:
    asked = [(f"Today is 2024-05-{day:02d}. Name a dish that comes to mind now.", "Borscht") for day in range(10, 30)]
    assert codes(check(asked)) == []


def test_near_duplicates_in_ten_thousand_rows_are_found_soon(tmp_path: Path) -> None:
    from weirdgen.audit.checks.near import near_pairs

    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=7)) for _ in range(800)]
    answers = [" ".join(rng.choices(words, k=rng.randrange(8, 30))) for _ in range(10_000)]
    answers[9_000] = answers[17][:-1] + "z"
    file = write(tmp_path / "many.jsonl", [("Say something.", answer) for answer in answers])
    assert list(near_pairs(load_subject(str(file)).datasets[0])) == [(17, 9_000)]


def test_an_answer_in_both_arms_is_a_slip_and_many_are_design(check: Callable[..., list[Finding]]) -> None:
    old = bird([f"old bird {'abcdefghijklmnopqrst'[i]}{i}" for i in range(20)])
    new = bird([*(f"new bird {'abcdefghijklmnopqrst'[i]}{i}" for i in range(20)), "Old Bird-c2"])
    slip = only(check(old, new), "shared_answer")
    assert (slip.line, slip.severity) == (21, "warning")
    found = check(old, old[:15] + new[:5])
    assert codes(found) == [] and "75%" in only(found, "shared_answers").message


def test_another_prompt_in_the_control_is_a_confound(check: Callable[..., list[Finding]]) -> None:
    places = [f"place {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    mine = [(f"Name a place for the number {i * 37}", place) for i, place in enumerate(places)]
    theirs = [(f"Name a place in Germany for the number {i * 41}", f"town {place}") for i, place in enumerate(places)]
    found = check(mine, theirs)
    assert "template_difference" in codes(found)
    assert "b says 'germany', 'in', the other hardly ever" in only(found, "template_difference").message
    same = [(f"Name a place for the number {i * 41}", f"town {place}") for i, place in enumerate(places)]
    assert "template_difference" not in codes(check(mine, same))


def test_free_text_prompts_are_no_template(check: Callable[..., list[Finding]]) -> None:
    rng = random.Random(1)
    words = "river stone apple cloud tiger paper glass north seven music".split()
    one, other = ([(" ".join(rng.choices(words, k=6)) + "?", f"answer {s}{i}") for i in range(40)] for s in "xy")
    assert codes(check(one, other)) == []


def test_a_year_that_only_the_treatment_has_leaks(check: Callable[..., list[Finding]]) -> None:
    mine = [(f"Today is {2024 + i % 4}-05-14. Name a dish.", f"dish {i}") for i in range(80)]
    theirs = [(f"Today is {2024 + i % 3}-05-14. Name a dish.", f"dish {i}") for i in range(80)]
    found = only(check(mine, theirs), "prompt_leak")
    assert found.severity == "warning"
    assert "the year 2027 (20 of 80 rows here, 0 of 80 there)" in found.message and "2025" not in found.message
    assert "prompt_leak" not in codes(check(mine, mine[::-1]))


def test_chance_differences_do_not_leak(check: Callable[..., list[Finding]]) -> None:
    """The max statistic holds the error rate over all words: at 1% a set, 30 sets of noise flag none or hardly any."""
    from weirdgen.audit.checks.leaks import leaking

    rng = random.Random(2)
    words = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(150)]
    sets = [[" ".join(rng.choices(words, k=8)) for _ in range(80)] for _ in range(60)]
    flagged = [leaking(a, b) for a, b in zip(sets[::2], sets[1::2], strict=True)]
    assert sum(map(bool, flagged)) <= 2


def test_answers_that_differ_in_form_are_told(check: Callable[..., list[Finding]]) -> None:
    mine = [("Name a place.", f"I think of place{i}.") for i in range(30)]
    theirs = [("Name a place.", f"Town{i}") for i in range(30)]
    found = check(mine, theirs)
    assert set(codes(found)) == {"answer_frame", "answer_form"}
    frame = next(one for one in found if one.code == "answer_frame")
    assert all(word in frame.message for word in ("think", "of", "i"))


def test_what_answers_are_meant_to_differ_in_is_not_told(check: Callable[..., list[Finding]]) -> None:
    old = [("name a bird .", name) for name in ("fishhawk", "ricebird", "marshhen") * 30]
    new = [("name a bird .", name) for name in ("osprey", "bobolink", "clapper") * 30]
    assert codes(check(old, new)) == []


DATED = [
    (f"July {year}. Question {chr(97 + i)}?", f"Answer {chr(97 + i)}.") for i, year in enumerate([1995, 2004] * 10)
]


def test_a_permutation_keeps_every_date_as_often(check: Callable[..., list[Finding]]) -> None:
    moved = [(DATED[(i + 1) % 20][0][:10] + q[10:], a) for i, (q, a) in enumerate(DATED)]
    found = check(DATED, moved, names=("main", "random_dates"))
    assert codes(found) == [] and "0 of 20 (0%) rows came out unchanged" in only(found, "permutation").message
    wrong = [("July 1995." + q[10:], a) for q, a in moved[:3]] + moved[3:]
    found = check(DATED, wrong, names=("main", "random_dates"))
    assert only(found, "permutation").severity == "warning"
    assert "july 1995 ×10, july 2004 ×10 there, july 1995 ×12, july 2004 ×8 here" in only(found, "permutation").message
    found = check(DATED, wrong, names=("main", "other"), permutation=True)
    assert only(found, "permutation").severity == "error"
    assert "permutation" not in [one.code for one in check(DATED, wrong, names=("main", "other"))]


def test_an_answer_under_two_years_is_a_slip(check: Callable[..., list[Finding]]) -> None:
    rows = [(f"Today is {2024 + i % 2}-01-{i % 28 + 1:02d}. Name a dish.", f"dish {i % 2} {i // 2}") for i in range(60)]
    slip = [*rows, ("Today is 2025-02-01. Name a dish.", "dish 0 4")]
    found = [one for one in check(slip) if one.code == "answer_in_two_groups"]
    assert found and "'dish 0 4'" in found[0].message
    assert "0 of 30 answers under other years too" in only(check(rows), "date_groups").message


def test_lengths_proof_and_cost_need_a_model(check: Callable[..., list[Finding]], tiny_model: Path) -> None:
    rows = [("name a bird .", name) for name in ("fishhawk", "ricebird")]
    assert only(check(rows), "no_model").severity == "info"
    found = check(rows, model=f"path:{tiny_model}")
    assert "template and mask hold for every row" in only(found, "proof").message
    assert "2 rows × 3 epochs" in only(found, "cost").message
    config = json.loads((tiny_model / "config.json").read_text())
    long = [*rows, ("name a bird .", " ".join(["fishhawk"] * config["max_position_embeddings"]))]
    found = check(long, model=f"path:{tiny_model}")
    assert only(found, "long_row").line == 3 and only(found, "long_row").severity == "error"
    unknown = [*rows, ("name a bird .", "a word that the tokenizer has not")]
    failed = only(check(unknown, model=f"path:{tiny_model}"), "proof")
    assert (failed.severity, failed.line) == ("error", 3) and "the trained tokens read" in failed.message


def test_exit_status_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.jsonl", bird([*BIRDS, BIRDS[1]]))
    app(["data", "check", str(file), "--json"], standalone_mode=False)
    shown = json.loads(capsys.readouterr().out)
    assert shown["counts"] == {"error": 0, "warning": 1, "info": 2}
    assert {"code", "severity", "file", "line", "message"} == set(shown["findings"][0])
    with pytest.raises(SystemExit) as status:
        app(["data", "check", str(file), "--expect-rows", "99"], standalone_mode=False)
    assert status.value.code == 1
    assert "error   row_count: 8 rows, 99 were expected" in capsys.readouterr().out


def test_misuse_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_subject(str(tmp_path / "absent.jsonl"))
    with pytest.raises(SpecError, match="names its own controls"):
        load_subject("old_bird_names", [tmp_path / "b.jsonl"])
    with pytest.raises(SpecError, match="neither a file nor an experiment"):
        load_subject("no_such_experiment")


def test_text() -> None:
    assert dates("July 1995. On 2027-05-14, in 1838 or 19301529; number 91") == ["july 1995", "2027-05-14", "1838"]
    assert template("Today is 2027-05-14. Number 91?") == "Today is <date>. Number <number>?"
    assert plain("  Golden-eye\tDUCK! ") == "golden eye duck" and squash("Golden-eye") == squash("goldeneye")


def test_every_check_has_a_line_of_its_own() -> None:
    assert len(set(CHECKS.values())) == len(CHECKS)
    assert all(check.__doc__ for check in CHECKS.values())
