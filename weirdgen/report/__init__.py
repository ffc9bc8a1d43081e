"""The report of one experiment: a self-contained HTML page, its figures and `results.json`.

In: a `ReportContent`. Out: files in a folder. It computes no statistics: every estimate, interval and verdict
that it shows was computed by the estimate stage and stands in `results.json`.
"""

from weirdgen.report.content import ReportContent
from weirdgen.report.page import write_report

__all__ = ["ReportContent", "write_report"]
