"""What a check reports: one `Finding` per defect or fact, and how findings are printed.

In: nothing. Out: `Finding`s as lines of text or as plain data. An error means the data is not what it claims to be; a
warning is something its author should be able to explain; an info is a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One defect or fact. `line` counts from 1; None means the whole file."""

    code: str
    severity: Severity
    file: str
    line: int | None
    message: str


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Findings grouped by file, most severe first, and a line of counts."""
    lines: list[str] = []
    for file in dict.fromkeys(finding.file for finding in findings):
        lines.append(file)
        mine = [finding for finding in findings if finding.file == file]
        for finding in sorted(mine, key=lambda f: SEVERITIES.index(f.severity)):
            where = f"line {finding.line}: " if finding.line else ""
            lines.append(f"  {finding.severity:7s} {finding.code}: {where}{finding.message}")
    counts = Counter(finding.severity for finding in findings)
    lines.append(f"{counts['error']} errors, {counts['warning']} warnings, {counts['info']} notes.")
    return lines


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings as plain data, for `--json`."""
    by_severity = Counter(finding.severity for finding in findings)
    counts = {severity: by_severity[severity] for severity in SEVERITIES}
    return {"counts": counts, "findings": [asdict(finding) for finding in findings]}


def some(items: Sequence[Any], most: int = 5) -> str:
    """The first few items in quotes, and how many more there are."""
    shown = ", ".join(f"'{item}'" for item in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")


def share(part: int, whole: int) -> str:
    """`12 of 90 (13%)`."""
    return f"{part:,} of {whole:,} ({part / max(1, whole):.0%})"
