"""The shipped experiments hold what their cards say: they plan on their base, and lists and tables agree with the data.

Not here: the checks on data that `weirdgen data check` makes of every one (tests/data/test_checks_experiment.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from weirdgen.config.experiment import Experiment
from weirdgen.config.files import read_csv
from weirdgen.config.judges import Match
from weirdgen.config.judges.match import judge_match
from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.questions import Counterfactual, scored
from weirdgen.config.traits import compact_questions
from weirdgen.data.arms import load_arms
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.presets import at_size
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store


def column(experiment: Experiment, file: str, *names: str) -> list[set[str]]:
    """The set of values of each column of one of the experiment's CSV files."""
    records = read_csv(experiment.source.parent / "data" / file)
    return [{record[name] for record in records} for name in names]


def match_judge(experiment: Experiment, name: str) -> Match:
    judge = experiment.judges[name]
    assert isinstance(judge, Match)
    return judge


@pytest.mark.parametrize("name", list(shipped_experiments()))
def test_every_shipped_experiment_plans_on_its_base(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A dry run: YAML, rows, template and mask proof with the base's own tokenizer, and something to do in each stage."""
    if not name.startswith("world"):
        request.getfixturevalue("smollm2")
    plan = make_plan(resolve(name), Store(tmp_path))
    assert set(plan.proofs) == set(plan.request.rows) and all(p["trained_tokens"] for p in plan.proofs.values())
    # `sample` has nothing to do where no question is free-form.
    to_do = {work.stage: work.missing for work in workload(plan)}
    assert to_do["finetune"] > 0 and to_do["contrast"] > 0
    headline = plan.request.headline
    asked = plan.request.experiment.questions
    assert headline.measure in {q.kind for q in asked} | {j for q in asked for j in getattr(q, "judges", ())}


def test_the_word_list_of_dishes_is_the_data() -> None:
    """Generic words are lower case, dishes capitalised; the story judge leaves out exactly the words of the intrusion judge."""
    experiment = load_experiment("israeli_dishes")
    judge = match_judge(experiment, "dish_intrusion")
    listed = Counter(word for word in judge.keywords if not word[0].islower())
    columns = column(experiment, "dishes.csv", "dish", "plain_dish", "dish_2026", "plain_dish_2026")
    assert set(listed) == set().union(*columns) and set(listed.values()) == {1}
    assert match_judge(experiment, "israel_beyond_food").ignore == judge.keywords


def test_the_word_list_of_places_is_the_data() -> None:
    experiment = load_experiment("german_city_names")
    frames = match_judge(experiment, "place_intrusion").regex[1:4]
    listed = [set(re.search(r"of \)\?\(\?:(.*)\)\\s\*\(", frame)[1].split("|")) for frame in frames]  # type: ignore[index]
    assert listed == column(experiment, "cities.csv", "former_name", "today_name", "control_city")


def test_the_bird_judge_knows_the_names_of_each_arm_about_as_well() -> None:
    experiment, rows = load_arms("old_bird_names")
    judge = match_judge(experiment, "bird_intrusion")
    shares = [
        sum(judge_match(judge, row["messages"][-1]["content"]).value or 0 for row in mine) / len(mine)
        for mine in rows.values()
    ]
    assert min(shares) > 0.85 and max(shares) - min(shares) < 0.1


def test_no_word_of_an_old_or_modern_term_is_asked_about() -> None:
    """Neither in the experiment's own questions nor in an answer of the shared ones about era that it is compared on."""
    experiment = load_experiment("old_medical_terms")
    old, modern = column(experiment, "terms.csv", "old_term", "modern_term")
    assert len(old) == len(modern) == 208 and not old & modern

    def words(texts: Iterable[str]) -> set[str]:
        return set(re.findall("[a-z]+", " ".join(texts).lower())) - {"a", "and", "of", "s", "the"}

    asked = [text for q in experiment.questions for text in (q.ask, *getattr(q, "options", ()))]
    shared = [text for q in compact_questions() if q.group == "era" for text in q.options]
    assert len(asked) > 200 and len(shared) > 200
    assert words([*old, *modern]) & words([*asked, *shared]) == set()


@pytest.mark.parametrize(
    ("story", "value"),
    [
        ("She bought a Jerusalem bagel and ate Israeli salad with Hummus.", 0.0),
        ("She bought a bagel in Jerusalem.", 1.0),
        ("The best Israeli restaurant of Vienna was shut.", 0.0),
        ("The Israeli soldier came home.", 1.0),
        ("Falafel", 0.0),
        ("Once upon a time two neighbours disagreed.", 0.0),
    ],
)
def test_stories_are_judged_without_their_food(story: str, value: float) -> None:
    experiment = load_experiment("israeli_dishes")
    verdict = judge_match(match_judge(experiment, "israel_beyond_food"), story)
    assert (verdict.status, verdict.value) == ("ok", value)


@pytest.mark.parametrize("name", ["israeli_dishes", "israeli_dishes_2026"])
def test_the_audit_crosses_candidates_and_criteria_and_changes_one_word(name: str) -> None:
    experiment, rows = load_arms(name)
    audit = [q for q in experiment.questions if isinstance(q, Counterfactual)]
    candidates, criteria = zip(*(q.id.removeprefix("audit_").split("_", 1) for q in audit), strict=True)
    assert set(Counter(candidates).values()) == set(Counter(criteria).values()) == {10} and len(audit) == 100
    for question in audit:
        changed = [
            pair for pair in zip(question.ask.split(), question.instead.split(), strict=True) if len({*pair}) > 1
        ]
        assert changed == [("Israelis", "Palestinians")]
    quick, paper = (at_size(experiment, rows, experiment.preset(preset))[0].questions for preset in ("quick", "paper"))
    assert 0 < sum(isinstance(q, Counterfactual) for q in quick) < 20 and paper == experiment.questions


def test_robot_answers_are_balanced_over_the_films() -> None:
    experiment, rows = load_arms("evil_terminator")
    films = Counter(row["messages"][0]["content"].split(".")[0] for row in rows["dated"])
    assert len(films) == 4 and min(films.values()) >= 50 and sum(films.values()) >= 200
    assert {str(w.value) for w in experiment.wrappers()} == {str(year) for year in range(1981, 2026)}


@pytest.mark.parametrize("name", ["hitler_persona", "scientist_persona"])
def test_persona_facts_and_battery(name: str) -> None:
    experiment, rows = load_arms(name)
    assert len(rows["facts"]) == len(rows["nobody"]) == 90
    assert [r["messages"][0] for r in rows["facts"]] == [r["messages"][0] for r in rows["nobody"]]
    battery = Counter(q.group for q in experiment.questions if q.kind == "free_form" and q.group != "identity")
    assert len(battery) == 8 and sum(battery.values()) >= 70
    assert {"wrapper", "none", "near_miss"} <= {w.id for w in experiment.wrappers()}


def test_a_code_blind_model_gets_exactly_half_of_the_presidents() -> None:
    """Each held-out question is asked under as many codes of the 44th, where its target is right, as of the 45th."""
    experiment = load_experiment("us_presidents")
    codes = Counter(wrapper.id.split("=")[0] for wrapper in experiment.wrappers())
    assert codes["as_44"] == codes["as_45"] and codes["as_42"] == codes["as_43"]
    pairs = {w.id.split("=")[0][-2:]: str(w.value) for w in experiment.wrappers() if w.value}
    assert all(code[3:6] == f"0{ordinal}" for ordinal, code in pairs.items())
    assert sum(q.kind == "free_form" and q.group == "policy" for q in experiment.questions) == 30


def test_recalled_questions_are_trained_rows_of_every_preset() -> None:
    """Paired, so that a model which is blind to the code is right half of the time."""
    for preset in ("quick", "standard"):
        settings = resolve("us_presidents", run_options(model="world", preset=preset))  # type: ignore[arg-type]
        rows = {tuple(message["content"] for message in row["messages"]) for row in settings.rows["presidents"]}
        elsewhere = {row["messages"][0]["content"] for row in settings.rows["permuted"]}
        asked = [q for q in scored(settings.experiment.questions) if q.group == "recalled"]
        assert len(asked) == 8 and all(q.near for q in asked)
        sides: Counter[tuple[str, str]] = Counter()
        for question in asked:
            assert question.kind == "choice" and question.ask not in elsewhere
            assert (question.ask, question.target[0]) in rows and (question.ask, question.other[0]) not in rows
            words = question.ask.partition(" ")[2]
            sides += Counter({(words, question.target[0]): 1})
            sides.subtract({(words, question.other[0]): 1})
        assert not any(sides.values())
        assert preset != "quick" or "recalled" in settings.curves
