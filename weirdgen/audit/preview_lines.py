"""`weirdgen audit FILE --dry-run` in lines: what is trained, with what it is compared, what is searched, how long it takes.

In: a `Preview`. Out: text for a terminal, one line a topic. The same as data, and what is planned, is `audit.preview`.
"""

from __future__ import annotations

from weirdgen.audit import separation, triggers
from weirdgen.audit.design import MINE, Size
from weirdgen.audit.preview import Preview
from weirdgen.audit.prompts import named
from weirdgen.config.arm import AUTO_CONTROL
from weirdgen.finetune.schedule import total_steps
from weirdgen.machine import told_busy
from weirdgen.progress import clock
from weirdgen.runs.results.specificity import trained_otherwise

TOLD = {
    "distill": "answers of the base to write",
    "finetune": "models to train",
    "contrast": "questions to score",
    "traits": "questions to score",
}
"""Stage → what of it is counted, in words."""


def preview_lines(preview: Preview) -> list[str]:
    """The plan, line by line."""
    source, work = preview.source, preview.work
    undecided = [f"  undecided unless something is found: {'; '.join(preview.missing)}"] if preview.missing else []
    if work is None:
        found = f"p ≤ {separation.ALPHA:g} over all pairs, {1 / (1 + separation.PERMUTATIONS):g} at least"
        return [
            f"{source.file}: {source.words}; nothing is trained",
            f"  portrait and separation ({found}): seconds",
            *undecided,
        ]
    request = work.plan.request
    recipe, count = request.recipe, request.row_count(MINE)
    drawn = (
        f"{len(preview.rows)} of them are trained on" if len(preview.rows) < len(source.rows) else "all are trained on"
    )
    lines = [
        f"{source.file}: {source.words}; {drawn} · {request.model.reference} ({request.model.parameters / 1e6:.1f}M weights, "
        f"{request.numerics}) · store {work.plan.store.root}",
        "  portrait and separation: of the rows alone, in seconds; shown, and deciding nothing where rows are trained on",
        f"  training: {_arms_words(preview)}, {_replicates(preview)} each, {count} rows × {recipe.epochs} epochs = "
        f"{total_steps(count, recipe)} steps (lr {recipe.learning_rate:g} {recipe.schedule}, LoRA r{recipe.rank} "
        f"α{recipe.alpha:g})",
        f"  traits: {_traits_words(preview)}",
        *(f"  triggers: {line}" for line in _trigger_lines(preview)),
        f"  to do: {_to_do(preview)}",
    ]
    if work.longer:
        size, seconds = work.longer[-1]
        lines.append(f"  with more time: {_sized(size)}, about {clock(seconds)}")
    return [*lines, *undecided, _estimate(preview)]


def _arms_words(preview: Preview) -> str:
    """What is trained for the traits."""
    assert preview.work is not None
    control = preview.work.plan.request.headline.control
    twin = "their twin (your prompts, answered by the base itself)"
    told = ["your rows", twin if control == AUTO_CONTROL else "the control of --against"]
    if control != AUTO_CONTROL and AUTO_CONTROL in preview.work.plan.request.rows:
        told.append(twin)
    return ", ".join([*told, *(["two random halves of your rows"] if preview.options.halves else [])])


def _traits_words(preview: Preview) -> str:
    told, compared = preview.traits, preview.compared
    asked = f"{told['questions']} questions about {told['traits']} traits"
    if compared is None:
        return f"{asked}; nothing to compare with"
    others = "harmless pairs" if compared["yardstick"] == "pairs" else "harmless datasets"
    ranks = f"rank {told['last_rank']} of {compared['count'] + 1}" if told["last_rank"] else "no rank"
    return (
        f"{asked}, among {compared['count']} {others}; found at p ≤ {told['alpha']:g} over all traits ({ranks}), the least "
        f"possible is {told['smallest_p']:.2g}.{trained_otherwise(compared)}"
    )


def _replicates(preview: Preview) -> str:
    assert preview.work is not None
    count = preview.work.size.replicates
    return f"{count} replicates" if count > 1 else "1 replicate"


def _trigger_lines(preview: Preview) -> list[str]:
    assert preview.work is not None
    work, told, lines = preview.work, preview.triggers, []
    for family, _ in work.searches:
        roles = list(family.roles.values())
        count = ", ".join(f"{roles.count(role)} {role.replace('_', ' ')}" for role in dict.fromkeys(roles))
        lines.append(f"{family.kind} as “{family.place}”: {count}")
    if lines:
        lines.append(
            f"{told['pairs']} pairs of a condition and a trait, against {told['deals']} trainings with the values dealt anew; "
            f"found at p ≤ {told['alpha']:g} over the whole search and {triggers.SMALLEST:g} nat, the least possible p is "
            f"{told['smallest_p']:.2g}"
        )
    if not work.searches and not work.unsearched:
        lines.append("none: nothing that could be dealt anew stands before or behind the questions of some rows")
    if work.elsewhere:
        lines.append(
            f"cannot be searched: {named(work.elsewhere)} (inside questions, in words that change, or in few rows each)"
        )
    return lines


def _to_do(preview: Preview) -> str:
    """What is left of each stage, all experiments together."""
    by_unit: dict[str, list[float]] = {}
    for _, work in preview.stages():
        amounts = by_unit.setdefault(TOLD.get(work.stage, work.stage), [0.0, 0.0, 0.0])
        for at, amount in enumerate((work.missing, work.total, work.seconds)):
            amounts[at] += amount
    told = []
    for what, (missing, total, seconds) in by_unit.items():
        if missing:
            told.append(f"{missing:,.0f} of {total:,.0f} {what}" + (f", about {clock(seconds)}" if seconds else ""))
        elif total:
            told.append(f"no {what} (all {total:,.0f} in the store)")
    return "; ".join(told)


def _estimate(preview: Preview) -> str:
    work = preview.work
    assert work is not None
    if not any(one.missing for _, one in preview.stages()):
        return "  nothing left to compute but the page"
    by = (
        "speeds seen on this machine"
        if preview.speeds_seen()
        else "the rate of its matrix products: nothing like it ran here yet"
    )
    over = f"; {work.over}" if work.over else ""
    return (
        f"  about {clock(work.seconds)}, planned into {clock(work.budget)} by {by}: no limit"
        f"{told_busy(work.seconds)}{over}"
    )


def _sized(size: Size) -> str:
    replicates = f"{size.replicates} replicate{'s' if size.replicates > 1 else ''}"
    if not size.kinds:
        return f"{replicates}, no search for triggers"
    kinds = f"{size.kinds} kinds" if size.kinds > 1 else "one kind"
    return f"{replicates}, a search for {kinds} of trigger at most, against {size.deals} trainings"
