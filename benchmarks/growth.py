"""Cost against work: what one more unit costs when there are many. Linear or better means the last column never falls."""

from __future__ import annotations

from benchmarks.finetuning import together, training_rows
from benchmarks.harness import Result, Setting, rate
from benchmarks.sampling import endless_engine, our_work
from weirdgen.config.experiment import Recipe


def samples(setting: Setting) -> list[Result]:
    base, tokens = (2, 8) if setting.quick else (8, 32)
    engine = endless_engine(setting, setting.dtypes[0])
    our_work(setting, engine, 1, 2)
    speeds = {
        times: rate(lambda times=times: our_work(setting, engine, base * times, tokens) / tokens)  # type: ignore[misc]
        for times in (1, 4, 16)
    }
    return _rows("samples", "answers/s", speeds)


def replicates(setting: Setting) -> list[Result]:
    steps, counts = (2, (1, 2)) if setting.quick else (6, (1, 3, 6, 12))
    recipe = Recipe(epochs=1, batch_size=8, learning_rate=1e-4, dtype=setting.dtypes[0])  # type: ignore[arg-type]
    rows = training_rows(setting, recipe.batch_size * steps)
    speeds = {count: together(setting.model, rows, recipe, count, setting.scratch) for count in counts}
    return _rows("replicates", "rows/s", speeds)


def _rows(what: str, unit: str, speeds: dict[int, float]) -> list[Result]:
    """Each against the first: a ratio of 1 or more means that cost grows no faster than the work."""
    first = next(iter(speeds.values()))
    return [
        Result(
            f"cost of {what} ×{times}",
            round(speed, 4),
            round(first, 4),
            unit,
            round(speed / first, 3),
            1.0,
            "peer: the first row",
        )
        for times, speed in speeds.items()
    ]
