"""Checks across an `experiment.yaml`: names that point nowhere, a missing control.

In: a validated `Experiment` and the lines of its file. Out: problems with their lines. What one noun can check by itself is in
`config.experiment`; reading files is `config.load`; the rows of its arms are read, and so checked, in `data.arms`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, get_args

from weirdgen.columns import ALL, BASE
from weirdgen.config.arm import AUTO_CONTROL
from weirdgen.config.base import NAME_WORDS, is_name
from weirdgen.config.choices import PresetName
from weirdgen.config.experiment import Experiment, Headline
from weirdgen.config.faulty import Missing
from weirdgen.config.files import KeyPath, Lines
from weirdgen.config.measures import MEASURES, SCORED
from weirdgen.config.paper import load_paper
from weirdgen.config.traits import trait_names
from weirdgen.errors import SpecError, choices


class Asked(NamedTuple):
    """A question as it is written, be it sound or not: where it stands, its id and the judges that are to read it."""

    where: str
    id: str | None
    judges: tuple[str, ...]

    @classmethod
    def of(cls, written: Any, where: str) -> Asked:
        """From an entry of a file, of which nothing is known yet."""
        entry = written if isinstance(written, dict) else {}
        id_, judges = entry.get("id"), entry.get("judges")
        listed = judges if isinstance(judges, list) else []
        return cls(where, id_ if isinstance(id_, str) else None, tuple(one for one in listed if isinstance(one, str)))


def cross_check(
    experiment: Experiment, lines: Lines, questions: Sequence[Asked], elsewhere: Collection[str], missing: Missing
) -> list[str]:
    """Every problem, with its file and line.

    `questions`: all that are written. `elsewhere`: judges that questions may name, in files of their own. `missing`: what is
    faulty and so not in `experiment`; what names it is not complained of.
    """
    problems: list[str] = []
    arms, judges = experiment.arms, experiment.judges
    roles = [arm.role for arm in arms.values()]
    if "treatment" not in roles:
        problems.append(f"{lines.at(('arms',))}: arms: no arm has role: treatment")
    if "control" not in roles and experiment.control is None:
        problems.append(
            f"{lines.at(('arms',))}: arms: no arm has role: control, so a shift could not be told from the effect of "
            "any finetuning; add a control arm, or 'control: auto' for its twin"
        )
    problems += _check_names(experiment, lines)
    there_are = trait_names() if experiment.traits else ()
    for trait in (trait for trait in experiment.traits if trait not in there_are):
        problems.append(f"{lines.at(('traits',))}: traits: no trait '{trait}'; there are: {choices(there_are, trait)}")
    for name, arm in arms.items():
        if arm.twin is not None and (arm.twin not in arms or arms[arm.twin].twin is not None):
            there = [other for other, its in arms.items() if its.twin is None]
            problems.append(
                f"{lines.at(('arms', name, 'twin'))}: arms.{name}.twin: expected an arm with data: {choices(there, arm.twin)}"
            )
        if arm.matched and arm.role != "control":
            problems.append(f"{lines.at(('arms', name, 'matched'))}: arms.{name}.matched: of a control only")
    doses = {name: arm.dose for name, arm in arms.items() if arm.dose is not None}
    if len(doses) == 1 or len(set(doses.values())) < len(doses):
        name = next(reversed(doses))
        what = "a curve over doses needs two arms or more, each with a dose of its own"
        problems.append(f"{lines.at(('arms', name, 'dose'))}: arms.{name}.dose: {what}")
    for name, noun in judges.items():
        problems += [f"{lines.at(('judges', name))}: judges.{name}: {problem}" for problem in noun.problems()]
    seen: set[str] = set()
    for where, id_, read_by in questions:
        if id_ in seen:
            problems.append(f"{where}: questions: id '{id_}' is given twice")
        seen |= {id_} if id_ else set()
        if id_ == ALL:
            problems.append(f"{where}: questions: the id '{ALL}' is reserved for the mean over questions")
        # A file of questions that cannot be read may hold the judge.
        for judge in read_by if not {"judges", "questions"} & missing.unknown else ():
            if judge not in judges and judge not in elsewhere:
                read_here = sorted({*judges, *elsewhere})
                known = choices(read_here, judge) if read_here else "none defined"
                problems.append(f"{where}: {id_ or 'questions'}: unknown judge '{judge}' (judges: {known})")
    for name in sorted({*MEASURES} & set(judges)):
        problems.append(
            f"{lines.at(('judges', name))}: judges.{name}: this measure is always made; choose another name"
        )
    problems += _check_effects(experiment, lines, missing)
    try:
        load_paper(experiment.folder)
    except SpecError as error:
        problems += error.problems
    return problems


def _check_effects(experiment: Experiment, lines: Lines, missing: Missing) -> list[str]:
    """The headline, the secondary effects, and the presets, which name them."""
    problems: list[str] = []
    measure = experiment.main_measure
    usual = Headline(measure=measure, treatment="", control="")
    unsure = missing.parts & {"headline", "questions"}
    if experiment.headline is None and not unsure and not experiment.questions_of(usual):
        problems.append(
            f"{lines.at(('questions',))}: questions: none is left for the headline, the mean of {measure} over questions that "
            "are not 'near'; write 'headline' with the group that it is about"
        )
    problems += _check_headline(experiment, lines, experiment.headline, ("headline",), missing)
    for name, secondary in experiment.secondary.items():
        problems += _check_headline(experiment, lines, secondary, ("secondary", name), missing)
    if experiment.secondary and experiment.headline is None and "headline" not in missing.parts:
        problems.append(f"{lines.at(('secondary',))}: secondary: give the one that comes first as 'headline'")
    if "headline" in experiment.secondary:
        problems.append(f"{lines.at(('secondary', 'headline'))}: secondary: the name 'headline' is taken")
    headlines = ["headline", *experiment.secondary, *sorted(missing.names)]
    groups = dict.fromkeys([*(question.group for question in experiment.questions), *sorted(missing.names)])
    for name, preset in experiment.presets.items():
        if name not in get_args(PresetName):
            where = f"{lines.at(('presets', name))}: presets.{name}"
            problems.append(f"{where}: expected {choices(get_args(PresetName), name)}")
        if "arms" not in missing.unknown:
            problems += _check_preset_arms(experiment, name, lines, missing)
        for curve in [listed for listed in preset.curves or () if listed not in headlines]:
            where = lines.at(("presets", name, "curves"))
            known = choices(["headline", *experiment.secondary], curve)
            problems.append(f"{where}: presets.{name}.curves: '{curve}' is not one of {known}")
        for group in preset.questions if "questions" not in missing.unknown else ():
            if group not in groups:
                where = f"{lines.at(('presets', name, 'questions', group))}: presets.{name}.questions"
                known = choices((question.group for question in experiment.questions), group)
                problems.append(f"{where}: '{group}' is not a group; there are: {known}")
        try:
            experiment.recipe.with_changes(preset.recipe)
        except SpecError as error:
            problems += [f"{lines.at(('presets', name, 'recipe'))}: presets.{name}.{p}" for p in error.problems]
    return problems


def _check_names(experiment: Experiment, lines: Lines) -> list[str]:
    """Keys that cannot be names, or that mean something else in every table."""
    reserved = {"arms": (BASE, "the model before any finetuning"), "conditions": (ALL, "the mean over conditions")}
    problems = []
    for key in ("arms", "conditions", "judges", "secondary"):
        for name in getattr(experiment, key):
            taken, meaning = reserved.get(key, ("", ""))
            if name == taken:
                problems.append(f"{lines.at((key, name))}: {key}.{name}: the name is reserved for {meaning}")
            elif not is_name(name):
                problems.append(f"{lines.at((key, name))}: {key}.{name}: {NAME_WORDS}")
    return problems


def _check_headline(
    experiment: Experiment, lines: Lines, headline: Headline | None, path: KeyPath, missing: Missing
) -> list[str]:
    """Names of a headline that point nowhere, or conditions and groups that leave nothing to compare."""
    if headline is None:
        return []
    problems: list[str] = []
    where = ".".join(map(str, path))
    measures = {measure for question in experiment.questions for measure in question.measures} | set(experiment.judges)
    if "questions" in missing.parts:
        measures |= set(SCORED)
    controls = [n for n, arm in experiment.arms.items() if arm.role == "control"]
    controls += [AUTO_CONTROL] if experiment.control == "auto" else []
    conditions = list(dict.fromkeys(["all", *experiment.conditions, *(w.id for w in experiment.wrappers())]))
    accepted = {
        "measure": sorted(measures),
        "treatment": [n for n, arm in experiment.arms.items() if arm.role == "treatment"],
        "control": controls,
        "condition": conditions,
        "minus": [name for name in conditions if name != "all"],
        "groups": sorted({q.group for q in experiment.questions}),
    }
    of = {"measure": "questions", "groups": "questions", "condition": "conditions", "minus": "conditions"}
    wrong = set()
    for key, names in accepted.items():
        if of.get(key, "arms") in missing.unknown or (key == "measure" and "judges" in missing.unknown):
            continue
        value = getattr(headline, key)
        for got in value if isinstance(value, tuple) else (value,):
            left_out = got in missing.roles if key in ("treatment", "control") else missing.names_one(got)
            if got not in names and not left_out:
                at = lines.at((*path, key))
                problems.append(f"{at}: {where}.{key}: '{got}' is not one of {choices(names, got)}")
                wrong.add(key)
    for key in ("minus", "groups"):
        if not getattr(headline, key) and lines.written((*path, key)) and path[0] not in missing.parts:
            problems.append(
                f"{lines.at((*path, key))}: {where}.{key}: it names nothing; leave the key out, or name one"
            )
    if path[0] in missing.parts:  # a faulty field is left out, and its default stands there
        return problems
    if not {"condition", "minus"} & wrong and "conditions" not in missing.parts:
        both = set(experiment.condition_ids(*headline.condition)) & set(experiment.condition_ids(*headline.minus))
        if both:
            what = f"{where}.minus: {sorted(both)[0]} is in 'condition' too, so it would cancel"
            problems.append(f"{lines.at((*path, 'minus'))}: {what}")
    if {"measure", "groups"} & wrong or "questions" in missing.parts or experiment.questions_of(headline):
        return problems
    key = "groups" if headline.groups else "measure"
    what = f"no {headline.measure} question in {', '.join(headline.groups) or 'the mean over questions'}"
    return [*problems, f"{lines.at((*path, key))}: {where}.{key}: {what}"]


def _check_preset_arms(experiment: Experiment, name: str, lines: Lines, missing: Missing) -> list[str]:
    """A preset's arms exist, hold the headline's, and still compare a treatment with a control."""
    arms = experiment.presets[name].arms
    if arms is None:
        return []
    where = f"{lines.at(('presets', name, 'arms'))}: presets.{name}.arms"
    known = [*experiment.arms, *([AUTO_CONTROL] if experiment.control == "auto" else [])]
    problems = [f"{where}: '{arm}' is not one of {choices(known, arm)}" for arm in arms if arm not in known]
    roles = {experiment.arms[arm].role for arm in arms if arm in experiment.arms}
    roles |= {"control"} if AUTO_CONTROL in arms and experiment.control == "auto" else set()
    if not missing.roles & set(arms):
        problems += [f"{where}: no arm has role: {role}" for role in ("treatment", "control") if role not in roles]
    if experiment.headline:
        wanted = (experiment.headline.treatment, experiment.headline.control)
        problems += [f"{where}: the headline needs '{arm}'" for arm in wanted if arm in known and arm not in arms]
    return problems
