"""What is drawn together follows from the request, and from what a killed run has begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from weirdgen.sample.draw import completions_table, draw, missing_samples, ranges_to_draw
from weirdgen.sample.engine import Completion, Prompt, Sampling
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store

PROMPTS = [Prompt("a", "a ?", 5), Prompt("b", "b ?", 5)]


def stored(*ranges: tuple[str, range]) -> dict[tuple[str, int], str]:
    """Rows of both prompts' keys as a table holds them."""
    return {(key, i): f"{whole.start}-{whole.stop}" for key, whole in ranges for i in whole}


def test_nothing_yet_is_one_batch_or_as_many_as_fit() -> None:
    assert ranges_to_draw(PROMPTS, [{}, {}], 20, most=1000) == [range(20)]
    assert ranges_to_draw(PROMPTS, [{}], 20, most=16) == [range(8), range(8, 16), range(16, 20)]
    assert ranges_to_draw(PROMPTS, [{}], 2, most=1) == [range(1), range(1, 2)]


def test_more_samples_draw_only_what_is_new() -> None:
    done = stored(("a", range(8)), ("b", range(8)))
    assert ranges_to_draw(PROMPTS, [done, done], 8, most=1000) == []
    assert ranges_to_draw(PROMPTS, [done, done], 20, most=1000) == [range(8, 20)]


def test_a_batch_that_was_cut_short_is_drawn_again_whole() -> None:
    done = stored(("a", range(8)), ("b", range(8)))
    half = {key: name for key, name in done.items() if key != ("b", 3)}
    assert ranges_to_draw(PROMPTS, [done, half], 8, most=1000) == [range(8)]
    assert ranges_to_draw(PROMPTS, [half, {}], 20, most=1000) == [range(8), range(8, 20)]
    assert ranges_to_draw(PROMPTS, [half], 3, most=1000) == []  # the lost sample is not asked for


class Letters:
    """An engine whose answers are letters."""

    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        for prompt in prompts:
            yield from ((0, Completion(prompt.key, i, "x", "stop", 1, 1, 0)) for i in indices)


def test_what_is_counted_is_what_was_missing(tmp_path: Path) -> None:
    """Fewer samples of one more question: its batch is drawn as the older question's was, and the bar counts those asked for."""
    table = completions_table(Store(tmp_path), Variant("base"), "fp32", 0, Sampling())
    counted: list[tuple[int, int]] = []

    def count(amount: int, tokens: int) -> None:
        counted.append((amount, tokens))

    for prompts, samples in ((PROMPTS[:1], 2), (PROMPTS, 1)):
        missing = missing_samples(table, prompts, samples)
        counted.clear()
        draw(Letters(), [Variant("base")], [table], prompts, samples, 0, Sampling(), count)  # type: ignore[arg-type]
        assert sum(amount for amount, _ in counted) == missing
    assert counted == [(1, 1), (0, 1)] and len(table.read()) == 4
