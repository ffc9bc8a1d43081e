"""Which variants share a batch: chosen when a run first tries, then kept in its folder.

A bf16 product rounds differently in a batch of another shape. A run that was killed resumes in the same batches, and so ends as
if it had never been stopped; a larger run later measures only what is new.
"""

from __future__ import annotations

from collections.abc import Sequence

from weirdgen.columns import BASE
from weirdgen.runs.plan.plan import Plan
from weirdgen.sample.variant import Variant, distinct
from weirdgen.store.cache import read_json, write_json

FILE = "company.json"
"""In the run's folder: kind of work → lists of variants' keys."""


def together(plan: Plan, kind: str, lacking: Sequence[Variant], size: int) -> list[list[Variant]]:
    """Groups of at most `size` that hold every variant which lacks something. Written down before they are returned."""
    file = plan.store.run_folder(plan.request.run_id) / FILE
    known: dict[str, list[list[str]]] = read_json(file)
    groups = known.get(kind, [])
    new = [v for v in lacking if not any(v.key in group for group in groups)]
    if new:
        # The base answers alone: it needs no adapters, and its long answers would hold up the others' short ones.
        base, tuned = [v.key for v in new if v.arm == BASE], [v.key for v in new if v.arm != BASE]
        groups = [*groups, *([base] if base else [])]
        groups += [tuned[start : start + size] for start in range(0, len(tuned), size)]
        with plan.store.writing(plan.folder):
            write_json(file, {**known, kind: groups})
    by_key = {variant.key: variant for variant in distinct(plan.variants)}
    wanted = {variant.key for variant in lacking}
    return [[by_key[key] for key in group] for group in groups if wanted & set(group)]
