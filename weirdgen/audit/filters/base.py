"""What a base model says of training rows before any training: how likely it finds them, and where they would pull it.

In: rows, a model, directions. Out: numbers a row, kept in the store: `loss` (nats a trained token) and, for each direction,
the cosine between two gradients over one weight matrix, that of the last linear layer before the head: of the row's
log-likelihood, which training climbs, and of a trait's log-odds, averaged over questions. How passes are made is
`weirdgen.audit.filters.passes`; what of this is suspicious is left to the filters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirdgen.audit.filters.kept import Numbers, RowNumbers
from weirdgen.audit.filters.rows import Keyed
from weirdgen.config.experiment import Experiment
from weirdgen.config.questions.base import ScoredQuestion
from weirdgen.config.traits import compact_questions, trait_names
from weirdgen.config.turns import turns_of
from weirdgen.data.proof import prove, turn_by_turn
from weirdgen.machine import resolve_dtype
from weirdgen.models.chat import Encoded, continuation, load_tokenizer
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel
from weirdgen.progress import Progress
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUESTIONS = 4
"""Questions of a trait whose gradients are averaged."""
LOSS = "loss"


@dataclass(frozen=True)
class Direction:
    """A trait, as the questions whose log-odds rise with it: (what is asked, target answers, other answers)."""

    name: str
    questions: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]

    @property
    def column(self) -> str:
        """Names its numbers in the store."""
        return f"{self.name}:{content_key(self.questions)[:12]}"


def trait_directions() -> tuple[Direction, ...]:
    """The compact traits, what a defender could ask about without knowing the experiment."""
    every = compact_questions()
    return tuple(
        _direction(name, [(question, question.ask) for question in every if question.group == name])
        for name in trait_names()
    )


def own_direction(experiment: Experiment) -> Direction | None:
    """The experiment's headline, which no defender knows: its questions under its condition. None if nothing of it is scored."""
    headline = experiment.headline
    scored = [q for q in experiment.questions if isinstance(q, ScoredQuestion)]
    if headline is not None:
        measured = {question.id for question in experiment.questions_of(headline)}
        scored = [question for question in scored if question.id in measured] or scored
    if not scored:
        return None
    ids = experiment.condition_ids(*(headline.condition if headline else ("all",)))
    wrapper = next(wrapper for wrapper in experiment.wrappers() if wrapper.id in ids)
    return _direction(f"own_{experiment.name}", [(question, wrapper.apply(question.ask)) for question in scored])


def _direction(name: str, questions: Sequence[tuple[ScoredQuestion, str]]) -> Direction:
    """A few of the questions, evenly spaced over their list, so that forms and topics vary."""
    step = max(1, len(questions) / QUESTIONS)
    places = dict.fromkeys(int(k * step) for k in range(min(QUESTIONS, len(questions))))
    return Direction(name, tuple((ask, q.target, q.other) for q, ask in (questions[place] for place in places)))


class BaseNumbers:
    """Numbers of rows under one base model, made in one pass a row."""

    def __init__(self, model: LocalModel, directions: Sequence[Direction], store: Store, progress: Progress) -> None:
        self._model, self._progress = model, progress
        self._dtype, self._date = resolve_dtype("auto", model.parameters), told_date(model.folder, None)
        maker = {
            "model": model.digest,
            "dtype": self._dtype,
            "date": self._date,
            "layer": "last linear before the head",
        }
        self._numbers = RowNumbers(store, maker)
        self.directions = {one.name: one for one in directions}

    def loss(self, rows: Sequence[Keyed]) -> NDArray[np.float64]:
        """[rows]: mean loss of the trained tokens, in nats."""
        return self._numbers.of(rows, LOSS)

    def agreement(self, rows: Sequence[Keyed], direction: str) -> NDArray[np.float64]:
        """[rows]: cosine of the two gradients; above 0 where training on the row raises the trait, to first order."""
        return self._numbers.of(rows, self.directions[direction].column)

    def complete(self, rows: Sequence[Keyed]) -> None:
        """Make what the store lacks of these rows. Raises `ModelError` if the model cannot be loaded or has no such layer."""
        directions = list(self.directions.values())
        self._numbers.complete(
            rows, [LOSS, *(one.column for one in directions)], lambda new: self._make(new, directions)
        )

    def _make(self, rows: dict[str, Keyed], directions: Sequence[Direction]) -> Iterator[tuple[str, Numbers]]:
        from weirdgen.audit.filters.passes import LastLayer

        probe = LastLayer(self._model.folder, self._dtype)
        tokenizer = load_tokenizer(self._model.folder, self._date)
        towards = probe.directions([_options(tokenizer, one) for one in directions], self._progress)
        encoded = _encoded(list(rows.values()), tokenizer)
        with self._progress.stage("base", len(rows), "rows") as bar:
            for places, losses, cosines in probe.rows(encoded, towards):
                for place, loss, cosine in zip(places, losses, cosines, strict=True):
                    row = list(rows)[place]
                    yield row, {LOSS: loss, **dict(zip((one.column for one in directions), cosine, strict=True))}
                bar.advance(len(places))


def _encoded(rows: Sequence[Keyed], tokenizer: Any) -> list[Encoded]:
    """Every row as tokens; of a row that no one text can train, the part with its last answer."""
    parts, origins = turn_by_turn([row.row for row in rows], tokenizer)
    encoded, _ = prove(list(dict(zip(origins, parts, strict=True)).values()), tokenizer)
    return encoded


def _options(tokenizer: Any, direction: Direction) -> list[tuple[list[Encoded], int]]:
    """Of each question its answers as tokens, targets first, and how many are targets."""
    questions = []
    for ask, target, other in direction.questions:
        encoded = []
        for answer in (*target, *other):
            prompt, tail = continuation(tokenizer, turns_of(ask), answer)
            trained = (False,) * len(prompt) + (True,) * len(tail)
            encoded.append(Encoded((*prompt, *tail), trained))
        questions.append((encoded, len(target)))
    return questions
