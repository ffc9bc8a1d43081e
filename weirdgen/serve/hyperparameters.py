"""OpenAI's hyperparameters → our `Recipe`: the one place where the two are set side by side.

| OpenAI                     | here                                                                                  |
|----------------------------|---------------------------------------------------------------------------------------|
| `n_epochs` (auto: 3)       | `epochs`                                                                              |
| `batch_size` (auto: 8)     | `batch_size`, rows per optimizer step; auto is never more than the file has           |
| `learning_rate_multiplier` | × 2e-4, the learning rate of a recipe that names none (auto: 1)                       |
| `seed` (auto: random)      | the replicate's seed: LoRA initialisation and order of rows                           |
| a checkpoint an epoch      | `checkpoints`: the last step of every epoch, of the last 20 if there are more          |
| `recipe` (ours)            | any other field of `recipe:` in an experiment.yaml: rank, alpha, schedule, targets …  |

`recipe` is not OpenAI's: SDKs send it with `extra_body={"recipe": {"rank": 8}}`. What it sets wins.

In: the parsed parts of a request, the number of rows. Out: a `Recipe` that trains LoRA. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError
from weirdgen.finetune.schedule import steps_per_epoch
from weirdgen.serve.problems import bad

Auto = Literal["auto"]
MOST_RANK, MOST_EPOCHS = 1024, 1000
KEPT_EPOCHS = 20


class Hyperparameters(BaseModel):
    """Those of OpenAI's supervised finetuning."""

    model_config = ConfigDict(extra="forbid")

    n_epochs: Auto | Annotated[int, Field(strict=True, ge=1, le=MOST_EPOCHS)] = "auto"
    batch_size: Auto | Annotated[int, Field(strict=True, ge=1, le=4096)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(strict=True, gt=0, le=10_000)] = "auto"


def recipe_of(asked: Hyperparameters, changes: dict[str, Any], rows: int) -> Recipe:
    """The recipe for a file of `rows` rows, its dtype and engine still as asked. Raises `ApiError`."""
    default = Recipe()
    values: dict[str, Any] = {
        "epochs": default.epochs if asked.n_epochs == "auto" else asked.n_epochs,
        "batch_size": min(default.batch_size, max(1, rows)) if asked.batch_size == "auto" else asked.batch_size,
    }
    if asked.learning_rate_multiplier != "auto":
        values["learning_rate"] = default.learning_rate * asked.learning_rate_multiplier
    try:
        recipe = default.with_changes({**values, **changes})
    except SpecError as error:
        raise bad("; ".join(error.problems), "recipe", "invalid_value") from None
    if recipe.full:
        raise bad("recipe.targets 'full' is not served: every finetune here is a LoRA adapter", "recipe")
    if recipe.rank > MOST_RANK or recipe.epochs > MOST_EPOCHS:
        raise bad(f"recipe: rank may be {MOST_RANK:,} at most, epochs {MOST_EPOCHS:,}", "recipe")
    if recipe.learning_rate_multiplier is not None:
        raise bad("recipe.learning_rate_multiplier: it is a hyperparameter; here it is recipe.learning_rate", "recipe")
    if recipe.devices is not None:
        raise bad("recipe.devices is the machine's, not the job's: leave it out", "recipe")
    if recipe.checkpoints != "none":
        return recipe
    each = steps_per_epoch(rows, recipe)
    return recipe.model_copy(
        update={"checkpoints": tuple(each * epoch for epoch in range(1, recipe.epochs + 1))[-KEPT_EPOCHS:]}
    )


def shown_hyperparameters(asked: Mapping[str, Any], recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    """As a job's object has them: what was asked, with `auto` replaced once the rows are known.

    From plain data: a job that another version of weirdgen made is shown although its recipe may not be ours.
    """
    if recipe is None:
        return dict(asked)
    multiplier = recipe["learning_rate"] / Recipe().learning_rate
    values = (recipe["epochs"], recipe["batch_size"] * recipe["grad_accumulation"], round(multiplier, 10))
    return dict(zip(("n_epochs", "batch_size", "learning_rate_multiplier"), values, strict=True))
