"""Every stage of a run, in order: distill → dataset → finetune → contrast → traits → sample → judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.contrast import Contrast
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.distill import Distill
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.stages.judge import Judge
from weirdgen.runs.stages.sample import Sample
from weirdgen.runs.stages.stage import Stage, Work
from weirdgen.runs.stages.traits import Traits

if TYPE_CHECKING:
    import pandas as pd

STAGES: list[Stage] = [Distill(), Dataset(), Finetune(), Contrast(), Traits(), Sample(), Judge()]


def workload(plan: Plan) -> list[Work]:
    """What of a plan is still to do, stage by stage."""
    return [line for stage in STAGES for line in stage.work(plan)]


def stage_tables() -> dict[str, Callable[[Plan], pd.DataFrame]]:
    """Name → rows, of every table that a stage has for a run."""
    return {name: read for stage in STAGES for name, read in stage.tables.items()}
