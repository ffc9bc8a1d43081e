"""How a sealed forecast did: its order of questions against what the finished run measured.

In: a run. Out: for each forecast that was sealed for the same data and model, Spearman's correlation with an interval over
questions, and whether it was sealed before the training began. How a forecast is made is `audit.forecast`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from weirdgen.audit.forecast import STAGE
from weirdgen.columns import FINAL
from weirdgen.data.rows import canonical_hash
from weirdgen.runs.results.results import Run
from weirdgen.stats.ranks import Agreement, agreement

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Scored:
    """One sealed forecast against a run. `parts`: "own questions" and each trait, those that both asked."""

    digest: str
    sealed: datetime
    began: datetime
    """When the first of the run's replicates began to be trained."""
    steps: int
    parts: dict[str, Agreement]

    @property
    def before(self) -> bool:
        """Whether the forecast was sealed before the run trained anything."""
        return self.sealed <= self.began + timedelta(seconds=1)  # the store keeps whole seconds

    def lines(self) -> list[str]:
        when = "before" if self.before else "only after"
        lines = [
            f"forecast of {self.steps} steps, SHA-256 {self.digest[:16]}…, sealed {self.sealed:%Y-%m-%d %H:%M:%S}, {when} the "
            f"training began ({self.began:%Y-%m-%d %H:%M:%S})"
        ]
        return lines + [f"  {name}: {words(found)}" for name, found in self.parts.items()]


def words(found: Agreement) -> str:
    """An agreement in words."""
    return (
        f"Spearman {found.spearman:+.2f} [{found.low:+.2f}, {found.high:+.2f}] over {found.questions} questions, "
        f"sign right on {found.sign:.0%}"
    )


def sealed_of(run: Run) -> list[Scored]:
    """Every sealed forecast of this run's data and model, the first one first; none if none was sealed."""
    import pandas as pd

    found = []
    for key in run.store.keys(STAGE):
        marker = run.store.marker(STAGE, key)
        if marker is not None and _is_of(marker["inputs"], run):
            text = (run.store.artifact(STAGE, key) / "forecast.json").read_text(encoding="utf-8")
            kept = json.loads(text)
            digest, sealed = marker["files"]["forecast.json"], _time(marker["finished"])
            found.append(
                Scored(
                    digest, sealed, _began(run), kept["steps"], parts(pd.DataFrame(kept["questions"]), measured(run))
                )
            )
    return sorted(found, key=lambda one: one.sealed)


def parts(forecast: pd.DataFrame, shifts: pd.DataFrame) -> dict[str, Agreement]:
    """Agreement on the experiment's own questions and on each trait. `shifts`: as `measured` gives them."""
    return {
        str(name): agreement(mine["shift"].to_numpy(), mine["measured"].to_numpy())
        for name, mine in joined(forecast, shifts).groupby("part", sort=False)
    }


def joined(forecast: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """The questions that both have, with `part`: "own questions" or the trait."""
    both = forecast.merge(shifts, on=["question", "trait"])
    return both.assign(part=both["group"].where(both["trait"], "own questions"))


def measured(run: Run) -> pd.DataFrame:
    """Columns question, trait (whether it is a trait question), measured: treatment − control in nats, mean over replicates."""
    import pandas as pd

    headline, odds = run.request.headline, run.contrasts()
    own = odds[(odds["checkpoint"] == FINAL) & (odds["kind"] == "contrast")]

    def under(conditions: Sequence[str]) -> pd.Series[float]:
        wanted = run.request.experiment.condition_ids(*conditions)
        mean: pd.Series[float] = own[own["condition"].isin(wanted)].groupby(["arm", "question"])["logit"].mean()
        return mean

    of_own = under(headline.condition) - under(headline.minus) if headline.minus else under(headline.condition)
    of_traits = run.table("trait_shifts").groupby(["arm", "question"])["logit"].mean()
    frames = []
    for trait, mean in ((False, of_own), (True, of_traits)):
        if {headline.treatment, headline.control} <= set(mean.index.get_level_values("arm")):
            change = pd.Series(mean[headline.treatment] - mean[headline.control])
            frames.append(change.rename("measured").reset_index().assign(trait=trait))
    if not frames:  # nothing of it was scored by log-probabilities
        return pd.DataFrame({"question": pd.Series(dtype=str), "measured": 0.0, "trait": False})
    shifts: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return shifts


def _is_of(inputs: dict[str, Any], run: Run) -> bool:
    headline, rows = run.request.headline, run.request.rows
    return (inputs["model"], inputs["treatment"], inputs["control"]) == (
        run.request.model.digest,
        canonical_hash(rows[headline.treatment]),
        canonical_hash(rows[headline.control]),
    )


def _began(run: Run) -> datetime:
    """The earliest beginning of the training of a treatment or control replicate."""
    headline = run.request.headline
    keys = [one.key for one in run.plan.replicates if one.arm in (headline.treatment, headline.control)]
    return min(began for key in keys if (began := _trained_from(run, key)) is not None)


def _trained_from(run: Run, key: str) -> datetime | None:
    """When a replicate's training first began; None if it is not trained.

    A training that was killed and went on keeps its first beginning. An older artifact has only the time that the last part took.
    """
    if (marker := run.store.marker("finetune", key)) is None:
        return None
    result = json.loads(
        run.store.on_disk(run.store.folder("finetune", key) / "result.json").read_text(encoding="utf-8")
    )
    if "began" in result:
        return _time(result["began"])
    return _time(marker["finished"]) - timedelta(seconds=marker["seconds"])


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
