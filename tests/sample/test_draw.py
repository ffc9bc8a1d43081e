"""What is drawn together follows from the request, and from what a killed run has begun."""

from __future__ import annotations

from weirdgen.sample.draw import ranges_to_draw
from weirdgen.sample.engine import Prompt

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
