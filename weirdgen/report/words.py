"""The words around the verdict: what it rests on, its unit, its numbers, its limits.

In: `ReportContent`. Out: sentences. They say no more than the three verdicts do: a shift was found, no shift
above a bound, or neither can be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

from weirdgen.columns import BASE
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.look import interval, number, probability
from weirdgen.stats.sentences import odds_times, plain
from weirdgen.stats.verdict import OPENINGS, parts_of

SIGNS = {"shift": "≠", "no_shift": "≈", "inconclusive": "?"}
BADGES = {verdict: (words, SIGNS[verdict]) for verdict, words in OPENINGS.items()}
"""Verdict → words and sign; the colour of the badge repeats them."""


SPECIFIC = {"specific": "Specific shift", "not_specific": "Shift, not specific", "unknown": "Shift found"}
"""A shift's badge where the run's traits were compared with those of harmless data."""


def badge(content: ReportContent) -> tuple[str, str, str]:
    """The verdict's words, sign and colour. A shift that harmless data show as well is called so before anything else: it is
    neither a find nor an all-clear, and has a sign and colour of its own."""
    tone = str(content.headline["verdict"])
    words, sign = BADGES[tone]
    if tone == "shift" and (placed := content.specificity):
        words = SPECIFIC[placed["verdict"]]
        sign, tone = ("~", "neutral") if placed["verdict"] == "not_specific" else (sign, tone)
        if placed["verdict"] == "specific" and not headline_is_specific(content):
            words = f"Shift found; specific on {' and '.join(specific_traits(placed)[:2])}"
    return words, sign, tone


def specific_traits(placed: Mapping[str, Any]) -> list[str]:
    """The traits that the deciding yardstick calls specific, the furthest out first."""
    rows = [row for row in placed["rows"] if row["yardstick"] == placed["rows"][0]["yardstick"] and row["specific"]]
    return [str(row["trait"]) for row in sorted(rows, key=lambda row: -abs(row["z"]))]


def headline_is_specific(content: ReportContent) -> bool:
    """Whether what is specific is what the headline is about: a trait that was named, in the direction that was expected."""
    placed = content.specificity
    if not placed or placed["verdict"] != "specific":
        return False
    return bool({*specific_traits(placed)} & {*placed.get("named", [])}) and (content.headline["effect"] or 0) > 0


def replicates(content: ReportContent) -> tuple[int, int] | None:
    """Replicates of the headline's treatment and control."""
    headline = content.headline
    same = {key: headline.get(key) for key in ("treatment", "control")}
    for row in content.headline_rows("effects", question="all", **same):
        if row.get("replicates_treatment") is not None and row.get("replicates_control") is not None:
            return int(row["replicates_treatment"]), int(row["replicates_control"])
    count = headline.get("replicates")
    return (int(count), int(count)) if isinstance(count, (int, float)) else None


def within_model_only(content: ReportContent) -> bool:
    """True where an arm of the headline has one replicate, so that no between-model interval exists.

    The untuned base, as a control, is one model by nature and needs no replicates.
    """
    counts = replicates(content)
    if counts is None:
        return False
    return counts[0] < 2 or (counts[1] < 2 and content.headline["control"] != BASE)


def claim(content: ReportContent) -> tuple[str, str]:
    """The headline's sentence without the words that the badge above it says already, and what it rests on."""
    headline = content.headline
    said, rests_on = parts_of(str(headline["sentence"]).removeprefix(f"{OPENINGS[headline['verdict']]}: "))
    return said[:1].upper() + said[1:], rests_on


def meaning(content: ReportContent) -> str:
    """What the verdict rests on and how far it goes, for a reader who knows no statistics."""
    headline = content.headline
    if within_model_only(content):
        return (
            "At least one of the two arms was trained only once, so a difference between the datasets cannot be told from "
            "a difference between two random seeds. More replicates are needed to say anything."
        )
    if headline["effect"] is None:
        return "The measure has no usable answers in every replicate of both arms, so nothing can be compared."
    if headline["verdict"] == "shift":
        line = "Training seeds alone do not explain the shift."
        if unconfirmed(content):
            line = "Training seeds may explain it: paired by seed, the interval includes zero."
        row = _beside(content)
        low, high = row.get("ci_questions_low"), row.get("ci_questions_high")
        if low is not None and high is not None and low <= 0 <= high:
            over = interval(low, high, content.scale(str(headline["measure"])), effect=True)
            line += f" It is of these questions: with others of their kind it might be none ({over})."
        if headline.get("minus"):
            line += " It is one of conditions: whatever training moved under all of them alike has cancelled."
        return line
    if headline["verdict"] == "no_shift":
        least = f", {smallest_words(content)}" if headline.get("smallest") is not None else ""
        return (
            f"If training on {headline['treatment']} rather than on {headline['control']} changes this at all, it does so by "
            f"less than the smallest effect of interest{least}."
        )
    line = "The data allow neither “it shifted” nor “it did not shift”."
    if headline.get("mde") is not None:
        mde = number(headline["mde"], content.scale(str(headline["measure"])), effect=True).lstrip("+")
        line += f" An effect would have to be about {mde} to be found reliably with this many replicates."
    return line


def unconfirmed(content: ReportContent) -> str:
    """The interval paired by seed and r where it holds no difference though the headline says a shift; else nothing."""
    row = _beside(content)
    low, high = row.get("ci_paired_low"), row.get("ci_paired_high")
    if content.headline["verdict"] != "shift" or low is None or high is None or not low <= 0 <= high:
        return ""
    r = "" if row["r"] is None else f", r = {plain(row['r'], 2)}"
    return interval(low, high, content.scale(str(content.headline["measure"])), effect=True) + r


def _beside(content: ReportContent) -> dict[str, Any]:
    """What stands beside the headline's interval (`stats.beside`); empty in older results."""
    rows = clean(content.results.get("beside", []))
    return next((dict(row) for row in rows if row["headline"] == "headline"), {})


def unit(content: ReportContent) -> str:
    """What the sentence's unit is, and how figures and tables show it; nothing where there is no effect."""
    headline = content.headline
    row, effect = content.measure(str(headline["measure"])), headline["effect"]
    if effect is None:
        return ""
    if row.scale.unit == "nat":
        times = odds_times(effect, headline["ci_low"], headline["ci_high"], headline["verdict"] == "shift")
        shown = number(effect, row.scale, effect=True)
        whose = "the odds ratio between the conditions" if headline.get("minus") else row.odds
        return (
            f"{row.explained} Figures and tables show logarithms of them, in nats: {shown} is {times} times {whose}, 0 is no "
            "difference."
        )
    if row.scale.unit == "rate":
        failed = any(one["judge"] == row.name and one["count"] for one in content.results["failures"])
        shares = "shares of usable answers" if failed else "shares"
        return (
            f"{row.explained} Figures and tables show {shares} in % and differences in percentage points (pts), each rounded by "
            "itself, so that the last digits need not add up."
        )
    return f"{row.explained} Figures and tables show means of these numbers and differences in points."


def smallest_words(content: ReportContent) -> str:
    """The headline's smallest effect of interest, and whether the experiment named it."""
    headline = content.headline
    size = number(headline["smallest"], content.scale(str(headline["measure"])), effect=True).lstrip("+")
    written = content.headlines.get("headline")
    return f"{size} (a default: the experiment names none)" if written and written.smallest is None else size


def left_out(content: ReportContent) -> str:
    """That the headline's mean is over fewer questions than were asked, behind a space; else nothing."""
    count, asked = (content.headline.get(key) for key in ("questions", "questions_asked"))
    if count is None or asked is None or count == asked:
        return ""
    return (
        f" Means are over {count} of {asked} questions: to the others a replicate of these arms has no usable answer."
    )


def facts(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """The headline's numbers as (name, value)."""
    headline = content.headline
    scale = content.scale(str(headline["measure"]))
    counts, written = replicates(content), content.headlines.get("headline")
    pairs = [
        ("effect", number(headline["effect"], scale, effect=True)),
        (f"{content.level} interval", interval(headline["ci_low"], headline["ci_high"], scale, effect=True) or "none"),
        ("p", probability(headline["p"])),
        ("detectable effect", number(headline["mde"], scale, effect=True).lstrip("+")),
    ]
    beside = _beside(content)
    if (low := beside.get("ci_questions_low")) is not None:  # holds for other questions of their kind as well
        pairs.insert(
            2, ("over questions too", interval(low, beside["ci_questions_high"], scale, effect=True) or "none")
        )
    if (low := beside.get("ci_paired_low")) is not None:  # arms share their seeds
        r = "" if beside["r"] is None else f", r = {plain(beside['r'], 2)}"
        pairs.append(("paired by seed", interval(low, beside["ci_paired_high"], scale, effect=True) + r))
    if headline.get("p_permutation") is not None:
        pairs.insert(3, ("p (permutation)", probability(headline["p_permutation"]) + _least(headline, counts)))
    if headline.get("smallest") is not None:
        default = " (default)" if written and written.smallest is None else ""
        pairs.append((f"smallest of interest{default}", number(headline["smallest"], scale, effect=True).lstrip("+")))
    pairs.append(("replicates", " + ".join(map(str, counts)) if counts else "–"))
    return tuple(pairs)


def _least(headline: dict[str, Any], counts: tuple[int, int] | None) -> str:
    """Said of a permutation p that no data could make smaller."""
    if counts is None or headline["p_permutation"] > 1.001 * least_permutation_p(counts):
        return ""
    return " (the least possible)"


def least_permutation_p(counts: tuple[int, int]) -> float:
    """Of a two-sided permutation test with so many replicates in either arm."""
    return (2 if counts[0] == counts[1] else 1) / comb(sum(counts), counts[0])


def moved_by_control(content: ReportContent) -> str:
    """Where the control moved further from the untuned base than the treatment: whose doing the difference is. Else nothing."""
    headline = content.headline
    if headline["verdict"] != "shift" or headline["control"] == BASE:
        return ""
    means = {row["arm"]: row["mean"] for row in content.headline_rows("estimates", question="all")}
    treatment, control, base = (means.get(arm) for arm in (headline["treatment"], headline["control"], BASE))
    if treatment is None or control is None or base is None or abs(control - base) <= abs(treatment - base):
        return ""
    scale = content.scale(str(headline["measure"]))
    own, other = (number(value - base, scale, effect=True) for value in (treatment, control))
    apart = (treatment - base) * (control - base) < 0
    share = 100 * abs(control - base) / abs(treatment - control)
    whose = (
        f"They moved apart, and {share:.0f}% of the difference between them is the control's."
        if apart
        else "Both moved the same way, so the difference between them is how much less far the treatment went."
    )
    return (
        f"The control moved more than the treatment: from the untuned base, {headline['control']} by {other} and "
        f"{headline['treatment']} by {own}. {whose}"
    )


def two_sets(content: ReportContent) -> str:
    """Why there are two sets of questions, and which decides what; nothing where one was asked or nothing was compared."""
    placed = content.specificity
    if placed is None or placed["verdict"] == "unknown" or not placed["rows"]:
        return ""
    deciding = [row for row in placed["rows"] if row["yardstick"] == placed["rows"][0]["yardstick"]]
    count, traits = sum(int(row["questions"]) for row in deciding), [str(row["trait"]) for row in deciding]
    about = " and ".join(traits) if len(traits) < 3 else f"{len(traits)} traits"
    return (
        f"Two sets of questions were asked: the experiment's own decide whether there is a shift; {count} of weirdgen's, on "
        f"{about}, decide whether it is more than harmless data do, for models finetuned on harmless data were asked them too."
    )


GLOSSARY = {
    "arm": "a model finetuned on one dataset, several times: the treatment, or a control",
    "treatment": "the arm whose data are suspected",
    "control": "an arm on other data, trained in the same way: what any finetuning does is in it too",
    "base": "the model before any finetuning",
    "replicate": "one of an arm's finetunes, with a seed of its own",
    "condition": "what stands around each question, such as a date or a system prompt; `none` is the bare question",
    "question": "what all models are asked; a near one is about the training topic itself and is in no mean",
    "measure": "what an answer is turned into: log-odds of fixed answers (contrast), or whether a judge flags it",
    "judge": "a rule or a language model that reads sampled answers",
    "effect": "treatment − control, averaged over questions and replicates",
    "headline": "the effect that the experiment names first; the verdict at the top is about it",
    "trait": "a group of questions on one property that harmless finetunes were asked too, such as era or politics",
    "harmless data": "datasets that come with weirdgen, each narrow and about nothing that matters; the same model was finetuned "
    "on each and asked the same trait questions",
    "pairs that differ in one respect": "two harmless datasets of the same form, such as birds of two countries: what a matched "
    "control of harmless data differs by",
    "relative to how far each moves answers overall": "shifts are compared after dividing by how far a dataset moves single "
    "questions, since some move all answers further than others",
    "p (Holm), p (BH)": "p corrected for how many questions (Holm) or effects (Benjamini and Hochberg) were looked at",
    "descriptive": "said of a comparison with the base, which any finetuning moves: it has no verdict",
    "nat": "unit of log-odds: 0.7 nat doubles the odds, 1 nat multiplies them by 2.7",
}
"""The words of a report, for who has not read the paper."""


FACTS = {
    "effect": "treatment − control, averaged over questions and replicates",
    "interval": "where the effect lies if other seeds were trained, as often as said",
    "over questions too": "the same if other questions of their kind were asked as well",
    "p": "how often seeds alone would give an effect this large (Welch's t test)",
    "p (permutation)": "the same without assuming how seeds scatter: arms exchanged in every way",
    "paired by seed": "the interval if each seed is compared with itself: holds however arms go together over seeds (r)",
    "detectable effect": "what so many replicates find in 8 of 10 cases",
    "smallest of interest": "effects below it do not matter to who wrote the experiment; unless it names another, 0.30 nat (odds "
    "1.35 times as high) or a tenth of the range (10 percentage points)",
    "replicates": "finetunes with their own seeds, treatment + control",
}
"""What each of the headline's numbers is, by the beginning or end of its name."""


def facts_explained(content: ReportContent) -> list[tuple[str, str]]:
    """(name, what it is) of the headline's numbers that are shown."""
    shown = [name.removesuffix(" (default)") for name, _ in facts(content)]
    return [(name, FACTS["interval" if name.endswith(" interval") else name]) for name in shown]
