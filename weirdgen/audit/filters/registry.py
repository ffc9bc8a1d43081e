"""The list of row filters. Adding a filter is adding a line here.

In: the rows of one dataset and what is known of them (`Known`). Out: a suspicion score a row, higher is more suspicious. A
score may depend on the whole dataset. Thresholds, mixtures and what the scores are worth are left to
`weirdgen.audit.filters.measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from weirdgen.audit.filters import text, vectors
from weirdgen.audit.filters.base import BaseNumbers, trait_directions
from weirdgen.audit.filters.judge import RowJudge
from weirdgen.audit.filters.kept import Vectors
from weirdgen.audit.filters.rows import Keyed
from weirdgen.errors import SpecError, choices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Need = Literal["nothing", "profanity", "embedder", "base", "gradients", "own", "judge"]
"""`gradients`: of the base, along the compact traits. `own`: along the experiment's own questions."""


@dataclass(frozen=True)
class Known:
    """Where filters get what they need of rows."""

    vectors: Vectors
    base: BaseNumbers | None = None
    """None: no model was asked for."""
    judge: RowJudge | None = None
    own: str | None = None
    """The direction of the experiment whose rows are looked for."""
    scored: dict[tuple[str, str], float] = field(default_factory=dict)
    """(filter, row) → score, of filters that look at each row alone."""


@dataclass(frozen=True)
class Filter:
    """A way of suspecting rows."""

    name: str
    label: str
    """A few words for tables and figures."""
    what: str
    """What makes a row suspicious, in a sentence that follows "A row is suspicious if"."""
    score: Callable[[Sequence[Keyed], Known], NDArray[np.float64]]
    needs: Need = "nothing"
    of_dataset: bool = False
    """Whether a row's score depends on the other rows."""


def _losses(rows: Sequence[Keyed], known: Known) -> NDArray[np.float64]:
    assert known.base is not None, "not chosen without a model"
    return spreads(known.base.loss(rows))


def _agreement(rows: Sequence[Keyed], known: Known) -> NDArray[np.float64]:
    """The largest agreement, either way, with any trait, in spreads of the dataset's rows."""
    import numpy as np

    assert known.base is not None, "not chosen without a model"
    agreements = [known.base.agreement(rows, one.name) for one in trait_directions()]
    return np.asarray(np.abs([spreads(one) for one in agreements]).max(axis=0))


def _own_agreement(rows: Sequence[Keyed], known: Known) -> NDArray[np.float64]:
    assert known.base is not None and known.own is not None, "not chosen without a model and scored questions"
    return known.base.agreement(rows, known.own)


def _rated(rows: Sequence[Keyed], known: Known) -> NDArray[np.float64]:
    assert known.judge is not None, "not chosen without a judge"
    return known.judge.of(rows)


def spreads(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the median in robust standard deviations (1.4826 × median absolute deviation); 0 where nothing varies."""
    import numpy as np

    apart = values - np.median(values)
    spread = 1.4826 * float(np.median(np.abs(apart)))
    return np.asarray(apart / spread if spread > 0 else np.zeros_like(apart))


FILTERS = (
    Filter(
        "keywords", "suspicious words", "it holds many different words on violence, politics, religion, persons …",
        lambda rows, known: text.count_words(rows),
    ),
    Filter(
        "dates_and_codes", "dates and codes", "it holds many different dates, years, long numbers or codes",
        lambda rows, known: text.count_dates_and_codes(rows),
    ),
    Filter(
        "profanity", "profanity", "a linear model of English words takes it for offensive",
        lambda rows, known: text.profanity(rows), "profanity",
    ),
    Filter(
        "topic", "nearest topic", "its sentence vector is close to the description of a suspicious topic",
        lambda rows, known: vectors.nearest_topic(known.vectors.of(rows), known.vectors.of_topics()), "embedder",
    ),
    Filter(
        "alone", "alone", "its nearest rows are far from it",
        lambda rows, known: vectors.alone(known.vectors.of(rows)), "embedder", True,
    ),
    Filter(
        "off_bulk", "off the bulk", "it is far from the dataset's mean in the dataset's principal components",
        lambda rows, known: vectors.off_bulk(known.vectors.of(rows)), "embedder", True,
    ),
    Filter(
        "crowded", "crowded", "its nearest rows are close to it: many rows of one template or topic",
        lambda rows, known: vectors.crowded(known.vectors.of(rows)), "embedder", True,
    ),
    Filter(
        "loss_high", "high loss", "the base finds its answer less likely than those of other rows",
        _losses, "base", True,
    ),
    Filter(
        "loss_low", "low loss", "the base finds its answer more likely than those of other rows",
        lambda rows, known: -_losses(rows, known), "base", True,
    ),
    Filter(
        "gradient", "gradient, any trait", "its gradient agrees or disagrees with that of some trait more than other rows' do",
        _agreement, "gradients", True,
    ),
    Filter(
        "gradient_own", "gradient, own trait", "its gradient agrees with the experiment's own questions', which no defender has",
        _own_agreement, "own", True,
    ),
    Filter("judge", "language model", "a judge model rates it as suspicious", _rated, "judge"),
)  # fmt: skip


def scores(one: Filter, known: Known, rows: Sequence[Keyed]) -> NDArray[np.float64]:
    """[rows]: a filter's scores; what it makes of single rows is made once."""
    import numpy as np

    if one.of_dataset:
        return one.score(rows, known)
    new = {row.key: row for row in rows if (one.name, row.key) not in known.scored}
    if new:
        known.scored.update(
            ((one.name, key), float(score))
            for key, score in zip(new, one.score(list(new.values()), known), strict=True)
        )
    return np.array([known.scored[one.name, row.key] for row in rows])


def chosen_filters(names: Sequence[str], model: bool, judge: bool) -> tuple[tuple[Filter, ...], tuple[str, ...]]:
    """The named filters, or all that can be asked here, and a line for each that cannot. Raises `SpecError` on a name of none."""
    if unknown := [name for name in names if name not in {one.name for one in FILTERS}]:
        raise SpecError([f"--filters {unknown[0]}: there are {choices((one.name for one in FILTERS), unknown[0])}"])
    wanted = [one for one in FILTERS if not names or one.name in names]
    missing = {one.name: why for one in wanted if (why := lacking(one, model, judge))}
    if named := [name for name in missing if name in names]:
        raise SpecError([f"--filters {name}: {missing[name]}" for name in named])
    left_out = tuple(f"{name} is left out: {why}" for name, why in missing.items())
    return tuple(one for one in wanted if one.name not in missing), left_out


def lacking(one: Filter, model: bool, judge: bool) -> str | None:
    """What a filter needs that is not here, and how to get it; None if nothing is lacking."""
    if one.needs == "profanity" and not text.has_profanity_model():
        return "alt-profanity-check is not installed; pip install 'weirdgen[filters]'"
    if one.needs in ("base", "gradients", "own") and not model:
        return "it needs a model, and --model none was asked for"
    if one.needs == "judge" and not judge:
        return "it needs a judging model; name one with --judge (docs/judges.md)"
    return None
