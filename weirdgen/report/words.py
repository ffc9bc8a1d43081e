"""The words around the verdict: what it means in one plain line, and what to beware of.

In: `ReportContent`. Out: sentences. They say no more than the three verdicts do: a shift was found, no shift
above a bound, or neither can be said.
"""

from __future__ import annotations

from math import comb

from weirdgen.columns import BASE
from weirdgen.report.content import ReportContent
from weirdgen.report.look import number

BADGES = {"shift": ("Shift found", "≠"), "no_shift": ("No shift", "≈"), "inconclusive": ("Inconclusive", "?")}
"""Verdict → words and sign; the colour of the badge repeats them."""
EMBEDDED = "smollm2-135m"
"""Part of the name of the small model that comes with weirdgen."""
TRUNCATED_SHARE = 0.2
ALPHA = 0.05


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


def claim(content: ReportContent) -> str:
    """The headline's sentence without the words that the badge above it says already."""
    headline = content.headline
    sentence = str(headline["sentence"])
    opening = f"{BADGES[headline['verdict']][0]}: "
    return sentence.removeprefix(opening)


def meaning(content: ReportContent) -> str:
    """One plain line for a reader who knows no statistics."""
    headline = content.headline
    treatment, control = headline["treatment"], headline["control"]
    scale = content.scale(str(headline["measure"]))
    if within_model_only(content):
        return (
            "At least one of the two arms was trained only once, so a difference between the "
            "datasets cannot be told "
            "from a difference between two random seeds. More replicates are needed to say anything."
        )
    if headline["effect"] is None:
        return "The measure has no usable answers in every replicate of both arms, so nothing can be compared."
    if headline["verdict"] == "shift":
        way = "higher" if headline["effect"] > 0 else "lower"
        if headline.get("minus"):
            side = "up" if headline["effect"] > 0 else "down"
            return (
                f"The change of conditions ({headline['condition']}) moves this measure further {side} "
                f"in models trained on {treatment} than in models trained on {control}, by more than the differences between "
                "training seeds explain."
            )
        return (
            f"Models trained on {treatment} came out {way} on this measure than models trained on "
            f"{control}, by more "
            "than the differences between training seeds explain."
        )
    if headline["verdict"] == "no_shift":
        return (
            f"If training on {treatment} rather than on {control} moves this measure at all, it moves "
            "it by less than "
            "the smallest effect that the experiment set out to find."
        )
    line = "The data allow neither “it shifted” nor “it did not shift”."
    if headline.get("mde") is not None:
        mde = number(headline["mde"], scale, effect=True).lstrip("+")
        line += f" An effect would have to be about {mde} to be found dependably with this many replicates."
    return line


def warnings(content: ReportContent) -> list[str]:
    """What weakens the verdict, most important first."""
    lines = []
    headline = content.headline
    counts = replicates(content)
    if within_model_only(content):
        lines.append(
            "Within-model only: one replicate in an arm, so there is no interval between models and no p value."
        )
    elif counts is not None and headline["control"] != BASE:
        floor = (2 if counts[0] == counts[1] else 1) / comb(sum(counts), counts[0])
        if floor >= ALPHA:
            lines.append(
                f"With {counts[0]} and {counts[1]} replicates a permutation test cannot give a p "
                f"below {floor:.2g}, "
                "however large the effect. Intervals and smaller p values rest on the assumption "
                "that replicates "
                "scatter normally, which so few cannot show."
            )
    if headline["control"] == BASE:
        lines.append("The comparison is with the untuned base: any finetuning moves answers away from the base's.")
    model = content.results["ran"].get("base", {})
    base = str(model.get("name") or model.get("reference") or "") if isinstance(model, dict) else str(model)
    if EMBEDDED in base.lower():
        lines.append(
            f"The base model is the small one that comes with weirdgen ({base}). Its sampled answers "
            "are weak; contrasts "
            "of log-probabilities are more telling than judged answers. Larger models may behave differently."
        )
    failed = [row for row in content.results["failures"] if row["count"]]
    if failed:
        total = sum({(row["judge"], row["arm"]): row["total"] for row in content.results["failures"]}.values())
        kinds = ", ".join(
            f"{sum(row['count'] for row in failed if row['status'] == status)} {status}"
            for status in dict.fromkeys(row["status"] for row in failed)
        )
        lines.append(
            f"{sum(row['count'] for row in failed)} of {total} verdicts failed ({kinds}). They are "
            "counted under "
            "“Judges” and enter no rate."
        )
    completions = content.final("completions")
    if len(completions):
        share = float((completions["finish_reason"] == "length").mean())
        if share > TRUNCATED_SHARE:
            lines.append(f"{100 * share:.0f}% of the sampled answers were cut at their token limit.")
    return lines + list(content.warnings)
