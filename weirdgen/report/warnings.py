"""What weakens the verdict: too few replicates, the base as control, failed verdicts, cut answers.

In: `ReportContent`. Out: sentences, most important first. Not here: the verdict itself and the words around it (`words`).
"""

from __future__ import annotations

from weirdgen.columns import BASE
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.words import least_permutation_p, replicates, unconfirmed, within_model_only
from weirdgen.stats.verdict import WITHIN

EMBEDDED = "smollm2-135m"
"""Part of the name of the small model that comes with weirdgen."""
TRUNCATED_SHARE = 0.2
ALPHA = 0.05


def warnings(content: ReportContent) -> list[str]:
    """What weakens the verdict, most important first."""
    lines = []
    headline = content.headline
    counts = replicates(content)
    if within_model_only(content):
        lines.append(f"{WITHIN}: one replicate in an arm, so there is no interval between models and no p value.")
    elif counts is not None and headline["control"] != BASE:
        floor = least_permutation_p(counts)
        if floor >= ALPHA:
            lines.append(
                f"With {counts[0]} and {counts[1]} replicates a permutation test cannot give a p "
                f"below {floor:.2g}, "
                "however large the effect. Intervals and smaller p values rest on the assumption "
                "that replicates "
                "scatter normally, which so few cannot show."
            )
    if paired := unconfirmed(content):
        lines.insert(
            0,
            f"Paired by seed the shift is not confirmed: the interval that holds however the arms go together over seeds, "
            f"{paired}, includes zero. More seeds would tell.",
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
    lines += failed_verdicts(content)
    completions = content.final("completions")
    if len(completions):
        share = float((completions["finish_reason"] == "length").mean())
        if share > TRUNCATED_SHARE:
            lines.append(f"{100 * share:.0f}% of the sampled answers were cut at their token limit.")
        if withheld := int((completions["finish_reason"] == "withheld").sum()):
            lines.append(
                f"{withheld} of {len(completions)} sampled answers were withheld by the service's content filter, in part or "
                "wholly; what came of them, often nothing, is judged like the others."
            )
    return lines + list(content.warnings)


def failed_verdicts(content: ReportContent) -> list[str]:
    """How many answers the headline's judge gave no value, in each of its arms; and how many all other judges that failed."""
    failed = [dict(row) for row in clean(content.results["failures"]) if row["count"]]
    headline, lines = content.headline, []
    own = [row for row in failed if row["judge"] == headline.get("measure")]
    arms = dict.fromkeys([headline["treatment"], headline["control"], *(row["arm"] for row in own)])
    if own:
        told = []
        for arm in arms:
            rows = [row for row in own if row["arm"] == arm]
            if rows:
                kinds = ", ".join(f"{row['count']} {row['status']}" for row in rows)
                told.append(f"{sum(row['count'] for row in rows)} of {rows[0]['total']} of {arm} ({kinds})")
            else:
                told.append(f"none of {arm}")
        lines.append(f"Answers that {headline['measure']} gave no value, and which no rate holds: {', '.join(told)}.")
    others = [row for row in failed if row not in own]
    if others:
        totals = {(row["judge"], row["arm"]): row["total"] for row in others}
        judges = ", ".join(dict.fromkeys(str(row["judge"]) for row in others))
        count = sum(row["count"] for row in others)
        lines.append(f"{count} of {sum(totals.values())} verdicts of {judges} failed; they are left out of the rates.")
    return lines
