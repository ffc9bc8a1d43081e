"""Arms with doses: from `experiment.yaml` to a curve with a simultaneous band, in the results and on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from weirdgen.config.load import load_experiment
from weirdgen.errors import SpecError
from weirdgen.runs.results.verify import verify

Write = Callable[..., Path]
ARMS = {
    "old: {role: treatment, data: old.jsonl}": "old: {role: treatment, data: old.jsonl, dose: 1}\n"
    "  half: {role: treatment, data: half.jsonl, dose: 0.5}",
}


@pytest.fixture
def dosed(write_experiment: Write) -> Path:
    path = write_experiment(ARMS, rows=16)
    old, new = ((path.parent / f"{name}.jsonl").read_text().splitlines() for name in ("old", "new"))
    mixed = [a if index % 2 else b for index, (a, b) in enumerate(zip(old, new, strict=True))]
    (path.parent / "half.jsonl").write_text("\n".join(mixed) + "\n")
    return path


@pytest.mark.slow
def test_a_curve_over_doses(dosed: Path, tmp_path: Path) -> None:
    run = weirdgen.run(str(dosed), store=tmp_path / "store", seeds=3, samples=0, changes=["recipe.epochs=4"])
    curve = run.curves().query("axis == 'dose'")
    plain = curve[curve["control"] == ""]
    assert list(plain["x"]) == [0.5, 1.0] and set(curve["control"]) == {"", "new", "base"}
    means = run.estimates().query("question == 'all'").set_index("arm")["mean"]
    assert list(plain["mean"]) == pytest.approx([means["half"], means["old"]])
    assert (plain["band_low"] < plain["ci_low"]).all() and (plain["ci_high"] < plain["band_high"]).all()
    against = curve[curve["control"] == "new"]
    effects = run.effects().query("question == 'all' and control == 'new'").set_index("treatment")["effect"]
    assert list(against["mean"]) == pytest.approx([effects["half"], effects["old"]])
    page = run.report.read_text()
    assert 'id="figure-dose"' in page and "contrast at doses: 0.5: " in page
    assert verify(run.id, tmp_path / "store").differences == []


def test_a_dose_alone_or_twice_is_refused(write_experiment: Write, dosed: Path) -> None:
    assert load_experiment(str(dosed)).arms["half"].dose == 0.5
    for wrong in ({", dose: 1}": "}"}, {"dose: 1": "dose: 0.5"}):
        text = dosed.read_text()
        for before, after in wrong.items():
            text = text.replace(before, after)
        (dosed.parent / "experiment.yaml").write_text(text)
        with pytest.raises(SpecError, match=r"arms\.half\.dose: a curve over doses needs two arms or more"):
            load_experiment(str(dosed))
        dosed = write_experiment(ARMS, rows=16)
