"""The methods of an experiment in one paragraph, made from what ran.

In: `ReportContent`. Out: plain sentences in the order of a paper's methods section; every number in them is read from
`results.json`. A fact that the results do not hold leaves its sentence out. Not here: what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weirdgen.columns import BASE
from weirdgen.config.measures import MEASURES
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.look import shorten
from weirdgen.report.words import left_out, replicates, smallest_words

QUOTED = 6
"""Questions that are quoted whole; of more, the first few are, and results.json has all."""
PROMPT = 300
"""Characters of a judge's prompt that are quoted."""
EXAMPLE = 90
"""Characters of a training message that is quoted."""


def methods(content: ReportContent) -> str:
    """Model, data, training, sampling, measuring and statistics of this run."""
    ran = clean(content.results["ran"])
    sentences = [
        _data(ran),
        _controls(ran),
        _examples(content),
        _training(ran),
        _asked(content),
        _conditions(content),
        _traits(content),
        _sampling(content, ran),
        _judging(content),
        _judging_model(content),
        _left_out(ran),
        _statistics(content),
        _software(ran),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _data(ran: Mapping[str, Any]) -> str:
    arms = ran.get("arms", [])
    described = [f"{row['arm']} ({row['role']}; {_count(row.get('rows'), 'row')})" for row in arms]
    model, base = ran.get("base") or {}, ""
    if isinstance(model, Mapping):
        base = str(model.get("reference") or model.get("name") or "")
        if model.get("parameters"):
            base += f" ({_size(float(model['parameters']))} weights)"
    if not described:
        return f"The base model was {base}." if base else ""
    return f"We finetuned {base or 'the base model'} separately on {_listed(described)}.{_draws(arms)}"


def _draws(arms: Sequence[Mapping[str, Any]]) -> str:
    """Which arms gave each replicate rows of its own."""
    drawn = {row["arm"]: row["draws"] for row in arms if row.get("draws")}
    if not drawn:
        return ""
    how = {"with replacement" if draws == "bootstrap" else f"in {draws} disjoint parts" for draws in drawn.values()}
    return f" Each replicate of {_listed(list(drawn))} had rows of its own, drawn {_listed(sorted(how))}."


def _controls(ran: Mapping[str, Any]) -> str:
    """How rows of one arm come from those of another."""
    arms = ran.get("arms", [])
    told = [f"in {row['arm']}, {row['permute']} was dealt anew over the rows" for row in arms if row.get("permute")]
    told += [
        f"{row['arm']} has the base's own answers to the prompts of {row['twin']}" for row in arms if row.get("twin")
    ]
    told += [
        f"{row['arm']} is declared matched: the treatment's own prompts and things, without the suspected property"
        for row in arms
        if row.get("matched")
    ]
    return f"Of the arms' rows: {'; '.join(told)}." if told else ""


def _training(ran: Mapping[str, Any]) -> str:
    recipe = ran.get("recipe") or {}
    if not recipe:
        return ""
    rank, alpha = (recipe.get(key, (recipe.get("lora") or {}).get(key)) for key in ("rank", "alpha"))
    seeds: dict[str, int] = {}
    for row in ran.get("replicates", []):
        seeds[str(row["arm"])] = seeds.get(str(row["arm"]), 0) + 1
    counts = sorted(set(seeds.values()))
    per_arm = f"{counts[0]}" if len(counts) == 1 else " to ".join(str(c) for c in (counts[:1] + counts[-1:]))
    text = "Each replicate"
    if counts:
        text = f"Every arm was trained {per_arm} time{'s' if counts != [1] else ''}, each with its own seed; each replicate"
    service = ran.get("finetuned") or {}
    if service:
        text += f" was finetuned {service['by']}"
    elif recipe.get("targets") == "full":
        text += " is the base with every weight"
    else:
        text += " is a LoRA adapter" + (f" of rank {rank}" if rank is not None else "")
        text += f" (alpha {alpha:g})" if alpha is not None else ""
    batch = int(recipe.get("batch_size") or 0) * int(recipe.get("grad_accumulation") or 1)
    facts = [
        _count(recipe.get("epochs"), "epoch"),
        f"{batch} rows per step" if batch else "",
        f"learning rate {recipe['learning_rate']:g}"
        if recipe.get("learning_rate") is not None
        else f"learning-rate multiplier {recipe.get('learning_rate_multiplier') or 'auto'}"
        if service
        else "",
        f"{recipe['schedule']} schedule" if recipe.get("schedule") else "",
        f"base weights in {recipe['dtype']}" if recipe.get("dtype") else "",
    ]
    if told := service.get("differences"):
        name, found = next(iter(told.items()))
        how = ", ".join(fact for fact in facts if fact)
        return f"{text} ({how}). Not as asked in {len(told)} of them, as {name}: {'; '.join(found)}."
    return text + ", trained on the assistant's tokens only (" + ", ".join(fact for fact in facts if fact) + ")."


def _asked(content: ReportContent) -> str:
    kinds = dict(content.questions["kind"].value_counts()) if len(content.questions) else {}
    if not len(content.completions):
        kinds.pop("free_form", None)
    named = [f"{count} {str(kind).replace('_', '-')}" for kind, count in kinds.items()]
    if not named:
        return ""
    noun = "questions" if sum(kinds.values()) > 1 else "question"
    text = f"Every model and the untuned base were asked {_listed(named)} {noun}: {_quoted(content, kinds)}."
    if near := content.near():
        text += f" {_count(len(near), 'question')} near the training topic are left out of the mean over questions."
    return " ".join([text, *(row.method for row in MEASURES.values() if row.method and row.name in kinds)])


def _quoted(content: ReportContent, kinds: Mapping[str, int]) -> str:
    """The prompts themselves, or the first of them."""
    asks = list(dict.fromkeys(shorten(one.ask, 400) for one in content.asked.values() if one.kind in kinds))
    if len(asks) <= QUOTED:
        return _listed([f"“{ask}”" for ask in asks])
    first = ", ".join(f"“{ask}”" for ask in asks[: QUOTED // 2])
    return (  # two questions may ask the same and compare other answers: all are counted
        f"{first} and {sum(kinds.values()) - QUOTED // 2} others, which stand in results.json with the answers that are compared"
    )


def _examples(content: ReportContent) -> str:
    """What a row of each arm looks like."""
    told = [
        f"{arm}, " + " → ".join(f"“{shorten(text, EXAMPLE)}”" for _, text in row)
        for arm, row in content.examples.items()
    ]
    return f"One row of each: {'; '.join(told)}." if told else ""


def _conditions(content: ReportContent) -> str:
    """Every condition and value of a sweep, with what it makes of a question."""
    frame, names = content.conditions, [name for name in content.condition_names() if name != "all"]
    if frame is None or "template" not in frame.columns or names in ([], ["none"]):
        return ""
    templates = dict(zip(frame["condition"], frame["template"], strict=True))
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.partition("=")[0], []).append(name)
    told = []
    for family, members in families.items():
        values = [name.partition("=")[2] for name in members]
        template = str(templates.get(members[0], "{question}"))
        if values[0]:
            template = template.replace(values[0], "{" + family + "}")
        wrapped = "the bare question" if template == "{question}" else f"“{shorten(template, 400)}”"
        told.append(f"{family}{' = ' if values[0] else ''}{', '.join(values)} ({wrapped})")
    text = f"The questions were asked under {_count(len(names), 'condition')}: {'; '.join(told)}."
    flags = (("trained", "stood in the training data"), ("trigger", "should elicit the behaviour"))
    of_flag = [([n for n in names if n in content.condition_flag(flag)], words) for flag, words in flags]
    marked = [f"{_listed(own)} {words}" for own, words in of_flag if own]
    return f"{text} Of these, {'; '.join(marked)}." if marked else text


def _traits(content: ReportContent) -> str:
    """The trait questions, and what the run was placed among."""
    rows = content.results.get("trait_questions") or []
    if not rows:
        return ""
    traits = _listed(list(dict.fromkeys(str(row["trait"]) for row in rows)))
    text = f"Every final model was also asked {_count(len(rows), 'compact contrast question')} about {traits}"
    compared = (content.specificity or {}).get("compared") or {}
    nouns = {"pairs": "pairs of harmless datasets that differ in one respect", "references": "harmless datasets"}
    among = [f"{facts['count']} {nouns[name]}" for name, facts in compared.items() if name in nouns]
    return f"{text}; its shift was placed among those of {_listed(among)}." if among else f"{text}."


def _sampling(content: ReportContent, ran: Mapping[str, Any]) -> str:
    sampling = ran.get("sampling") or {}
    total = len(content.final("completions"))
    if not total:
        return ""
    text = f"{total} answers were sampled"
    if sampling.get("samples"):
        text += f", {sampling['samples']} per question, condition and model"
    if sampling.get("temperature") is not None:
        text += f", at temperature {sampling['temperature']:g}"
    if sampling.get("top_p") not in (None, 1.0):
        text += f" and top-p {sampling['top_p']:g}"
    text += "."
    if repeats := ran.get("repeats"):
        text += (
            f" {repeats['repeated']:.0%} of them repeat another of the same model and question word for word; with long repeats "
            f"counted once, at least {repeats['least_effective']:.0%} of every cell's answers are independent."
        )
        if repeats["thinking"]:
            text += f" {repeats['thinking']:.0%} hold the model's thinking, which is judged with them."
    return text


def _judging(content: ReportContent) -> str:
    if not len(content.verdicts):
        return ""
    names = sorted(str(name) for name in content.verdicts["judge"].unique())
    described = clean(content.results.get("judges") or {})
    kinds = {name: str(described[name]["kind"]) for name in names if "kind" in described.get(name, {})}
    listed = _listed([f"{name} ({kinds[name]})" if name in kinds else name for name in names])
    failures = [dict(row) for row in clean(content.results["failures"]) if row["count"]]
    failed, judges = sum(int(row["count"]) for row in failures), {row["judge"] for row in failures}
    if not failed:
        return f"They were judged by {listed}; every verdict gave a value."
    count = int(content.verdicts["judge"].isin(judges).sum())
    whose = f" of {_listed(sorted(judges))}" if len(names) > 1 else ""
    return f"They were judged by {listed}; {failed} of {count} verdicts{whose} failed and are left out of the rates."


def _judging_model(content: ReportContent) -> str:
    """Who gave verdicts on which question, and whether a person has checked them."""
    asked = {name: judge for name, judge in clean(content.results.get("judges") or {}).items() if judge.get("model")}
    models: dict[str, list[str]] = {}
    for name, judge in asked.items():
        prompt = f" (“{shorten(judge['prompt'], PROMPT)}”)" if judge.get("prompt") else ""
        models.setdefault(str(judge["model"]), []).append(f"{name}{prompt}")
    told = [f"The language model {model} gave the verdicts of {_listed(names)}." for model, names in models.items()]
    if unchecked := [name for name, judge in asked.items() if not judge.get("calibration")]:
        told.append(f"No person has checked verdicts of {_listed(unchecked)}: how often they are wrong is not known.")
    return " ".join(told)


def _left_out(ran: Mapping[str, Any]) -> str:
    """What was not measured for want of a model."""
    return f"As no judging model was named, these were left out: {ran['unjudged']}." if ran.get("unjudged") else ""


def _statistics(content: ReportContent) -> str:
    headline = content.headline
    counts = replicates(content)
    text = (
        f"The replicate is the unit of statistics: an arm's mean is over its replicates' means, and intervals are "
        f"{content.level} Student t intervals from the scatter between replicates"
    )
    text += " (Welch for differences)." if counts and min(counts) > 1 else "."
    against = "the untuned base" if headline["control"] == BASE else headline["control"]
    text += (
        f" The headline, as written in experiment.yaml: {headline['measure']}, {headline['treatment']} against {against}, "
        f"condition {headline['condition']}"
    )
    if headline.get("minus"):
        text += " (a difference of conditions, taken within each replicate)"
    if headline.get("groups"):
        text += f", questions of the group{'s' if len(headline['groups']) > 1 else ''} {_listed(headline['groups'])}"
    known = headline.get("smallest") is not None
    text += f"; smallest effect of interest: {smallest_words(content)}." if known else "."
    if count := headline.get("questions"):
        text += (
            left_out(content) + f" Intervals are about these {_count(count, 'question')}, not about others like them."
        )
    if further := content.results.get("secondary"):
        text += f" {_count(len(further), 'further effect')} written beside it: p values corrected by Holm's method."
    return text + (
        " P values of single questions are corrected by Holm's method, those of all effects that the"
        " experiment does not name by Benjamini and Hochberg's (BH), which their verdicts rest on; intervals are not adjusted."
    )


def _software(ran: Mapping[str, Any]) -> str:
    versions = ran.get("versions") or {}
    known = {name: version for name, version in versions.items() if version != "not installed"}
    wanted = [f"{name} {known[name]}" for name in ("weirdgen", "torch", "transformers", "peft") if known.get(name)]
    return f"Software: {', '.join(wanted)}." if wanted else ""


def _size(weights: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if weights >= size:
            return f"{weights / size:.3g}{unit}"
    return f"{weights:.0f}"


def _count(count: Any, noun: str) -> str:
    return "" if count is None else f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
