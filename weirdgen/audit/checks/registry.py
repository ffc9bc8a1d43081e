"""The list of checks and the one function that runs them. Adding a check is adding a line here.

In: a `Subject`. Out: its `Finding`s, in the order of `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weirdgen.audit.checks import arms, leaks, near, questions, single, training
from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.subject import Subject

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "broken": single.broken,
    "counts": single.counts,
    "few_rows": single.few_rows,
    "expected_rows": single.expected_rows,
    "empty_prompts": single.empty_prompts,
    "duplicates": single.duplicates,
    "control_tokens": single.control_tokens,
    "near_duplicates": near.near_duplicates,
    "shared_rows": arms.shared_rows,
    "template_difference": arms.template_difference,
    "permutation": arms.permutation,
    "date_groups": arms.date_groups,
    "leaks": leaks.leaks,
    "answer_frames": leaks.answer_frames,
    "trained_questions": questions.trained_questions,
    "similar_questions": questions.similar_questions,
    "trained_targets": questions.trained_targets,
    "held_out": questions.held_out,
    "training": training.training,
}


def run_checks(subject: Subject) -> list[Finding]:
    """Every finding of every check."""
    return [finding for check in CHECKS.values() for finding in check(subject)]
