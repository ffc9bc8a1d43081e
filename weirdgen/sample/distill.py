"""Self-distillation: ordinary prompts answered by the base itself, as training rows (paper §4.2).

In: a base model, how many rows, how they are asked. Out: chat rows, the same ones for every arm that wants that many.
Answers are kept in the base's own completions table, so other arms and later runs take them from there. Nothing is graded:
right or wrong, they are what the base says anyway, and that is why mixing them in dilutes without teaching.
"""

from __future__ import annotations

from collections.abc import Callable

from weirdgen.config.experiment import Ordinary
from weirdgen.data.ordinary import ordinary_prompts
from weirdgen.data.rows import Row
from weirdgen.errors import DataError
from weirdgen.sample.draw import completions_table, draw
from weirdgen.sample.engine import Engine, Prompt, Sampling
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.store.table import Table

AT_ONCE = 64
"""Prompts in one batch, one answer each."""
MOST_PROMPTS = 4
"""Prompts asked for one row wanted, at most: a model that seldom ends an answer in time is refused."""


class Distilled:
    """The ordinary rows of one base model. `numerics` names the engine's in the store, `seed` is the run's sampling seed."""

    def __init__(self, store: Store, base: str, numerics: str, seed: int, how: Ordinary) -> None:
        self._store, self._numerics, self._seed, self._how = store, numerics, seed, how
        self._base = Variant(base)
        self._sampling = Sampling(temperature=how.temperature)

    def rows(self, count: int) -> list[Row]:
        """The first `count` finished answers, in the order of the prompts; fewer if more have yet to be drawn."""
        answers = self.table.read()
        if not len(answers):
            return []
        texts = {
            row.prompt_key: row.text for row in answers.itertuples() if row.finish_reason == "stop" and row.text.strip()
        }
        rows: list[Row] = []
        for prompt in self._prompts(MOST_PROMPTS * count):
            if len(rows) == count:
                break
            if prompt.key in texts:
                turns = (("user", prompt.text), ("assistant", texts[prompt.key].strip()))
                rows.append({"messages": [{"role": role, "content": content} for role, content in turns]})
        return rows

    def answer(self, engine: Engine, count: int, on_row: Callable[[int], None]) -> None:
        """Draw until `count` rows are there. Raises `DataError` if too few answers end in time."""
        prompts = self._prompts(MOST_PROMPTS * count)
        engine.use([None])
        for start in range(0, len(prompts), AT_ONCE):
            if len(self.rows(count)) == count:
                return
            group = prompts[start : start + AT_ONCE]
            draw(engine, [self._base], [self.table], group, 1, self._seed, self._sampling, on_row)
        if len(self.rows(count)) < count:
            raise DataError(
                f"ordinary: of {len(prompts)} answers only {len(self.rows(count))} end within {self._how.max_tokens} "
                f"tokens, but {count} are needed; raise ordinary.max_tokens or ask for shorter answers in ordinary.ask"
            )

    @property
    def table(self) -> Table:
        return completions_table(self._store, self._base, self._numerics, self._seed, self._sampling)

    def _prompts(self, count: int) -> list[Prompt]:
        texts = [self._how.ask.replace("{prompt}", prompt) for prompt in ordinary_prompts(count)]
        most = self._how.max_tokens
        return [Prompt(content_key([text, most]), text, most) for text in texts]
