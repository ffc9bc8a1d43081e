"""What is studied: a finished run's models at one layer, and their activations on its paired prompts.

In: a run, a layer or the autoencoder that says one, a size. Out: a `Subject`, which every later step takes. Activations come from
the store, or are read now and kept there.

Shape letters: V values of the condition, Q questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from weirdgen.columns import BASE, FINAL
from weirdgen.features.harvest import Activations, Pairs, harvest, pairs_of
from weirdgen.features.reader import Reader
from weirdgen.features.residual import decoder_layers, default_layer, layer_count, require_layer
from weirdgen.features.sae import require_fits
from weirdgen.features.sae_read import SaeFile
from weirdgen.features.size import Size
from weirdgen.progress import Progress
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.results.results import Run
from weirdgen.sample.variant import Variant


@dataclass(frozen=True)
class Subject:
    """What every step of a study shares."""

    plan: Plan
    size: Size
    pairs: Pairs
    layer: int
    reader: Reader
    last: Activations
    """At the last prompt token."""
    mean: Activations
    """Means over prompt tokens."""
    arm: str
    """The headline's treatment."""
    control: str | None
    """The headline's control; None where that is the untuned base."""
    progress: Progress

    def finals(self, arm: str) -> list[Variant]:
        """An arm's replicates after the last step, in the order of the activations."""
        return [one for one in self.plan.variants if one.arm == arm and one.checkpoint == FINAL]

    @property
    def base(self) -> Variant:
        """The untuned model."""
        return next(one for one in self.plan.variants if one.arm == BASE)

    @property
    def device(self) -> torch.device:
        """Where the model lies; activations lie on the processor."""
        device: torch.device = self.reader.model.device
        return device

    def facts(self) -> dict[str, Any]:
        """What it is of, for `features.json`."""
        request, pairs = self.plan.request, self.pairs
        return {
            "experiment": {"name": request.experiment.name, "title": request.experiment.title},
            "model": {
                "reference": request.model.reference,
                "digest": request.model.digest,
                "layers": layer_count(self.reader.model),
            },
            "layer": self.layer,
            "arms": {
                "treatment": self.arm,
                "control": self.control,
                "replicates": len(self.last.arms[self.arm]),
            },
            "pairs": {
                "values": list(pairs.names),
                "trigger": [pairs.names[v] for v in pairs.trigger],
                "reference": [pairs.names[v] for v in pairs.reference],
                "questions": len(pairs.questions),
            },
        }


def subject_of(
    run: Run, layer: int | None, file: SaeFile | None, size: Size, progress: Progress, questions: Sequence[str] = ()
) -> Subject:
    """Opens the model and reads what the store lacks. `file`: an autoencoder, which says the layer unless one is given.

    Raises `ModelError` for a layer or an autoencoder that does not fit.
    """
    plan, headline = run.plan, run.plan.request.headline
    reader = Reader(plan.request.local.folder, plan.request.dtype, plan.request.date)
    count = layer_count(reader.model)
    at = layer if layer is not None else file.layer if file and file.layer is not None else default_layer(count)
    require_layer(at, count)
    decoder_layers(reader.model)
    if file:
        require_fits(file.sae, reader.model.config.get_text_config().hidden_size, f"--sae {file.weights}")
    pairs = pairs_of(plan.request, questions)
    finals = {variant.key for variant in plan.variants if variant.checkpoint == FINAL}
    with progress.stage("harvest", len(finals), "models") as bar:
        last = harvest(plan, pairs, at, reader, "last", bar.advance)
    mean = harvest(plan, pairs, at, reader, "mean")
    control = None if headline.control == BASE else headline.control
    return Subject(plan, size, pairs, at, reader, last, mean, headline.treatment, control, progress)
