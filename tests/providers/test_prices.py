"""Prices: the table of ours, and a person's own, which may be wrong in every way."""

from __future__ import annotations

from pathlib import Path

import pytest

from weirdgen.errors import SpecError
from weirdgen.providers.prices import FORM, find_price
from weirdgen.providers.service import Service

LINE = "provider: openai, model: gpt-4.1, input: 7, output: 8.5, read: 2026-11-29, source: mine"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIRDGEN_PRICES", str(tmp_path / "own.yaml"))
    return tmp_path / "own.yaml"


def test_ones_own_prices_come_first_for_the_names_that_they_list(own: Path) -> None:
    tuned_line = f"{LINE.replace('gpt-4.1', 'gpt-4o-mini').replace('7', '1')}, finetuned: true"
    own.write_text(f"- {{{LINE}, snapshots: [2025-04-14]}}\n- {{{tuned_line}}}\n")
    price = find_price(Service(), "gpt-4.1-2025-04-14", finetuned=False)
    assert price and (price.input, price.output, price.training, price.read) == (7, 8.5, None, "2026-11-29")
    tuned, ours = (find_price(Service(), "gpt-4o-mini", finetuned) for finetuned in (True, False))
    assert tuned and tuned.input == 1 and ours and ours.input == 0.15
    assert find_price(Service("openai", "http://127.0.0.1/v1"), "gpt-4.1", finetuned=False) == find_price(
        Service(), "gpt-4.1", finetuned=False
    )
    for name in ("gpt-4.1-2025-04-15", "gpt-4.1-long"):
        assert find_price(Service(), name, finetuned=False) is None
    own.write_text("")
    mini = find_price(Service(), "gpt-4.1-mini", finetuned=False)
    assert mini and mini.input == 0.4
    assert find_price(Service("nobody"), "gpt-4.1-mini", finetuned=False) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"- {{{LINE}", ":1: malformed YAML"),
        ("openai: 7", ":1: expected a list"),
        ("- gpt-4.1", ":1: a line: "),
        (f"- {{{LINE}}}\n- {{{LINE.replace('8.5', '-1')}}}", ":2: output: Input should be greater than or equal to 0"),
        (f"- {{{LINE.replace('8.5', '.nan')}}}", ":1: output: .nan is not a usable number"),
        (f"- {{{LINE.replace('8.5', '-.inf')}}}", ":1: output: -.inf is not a usable number"),
        (f"- {{{LINE.replace('8.5', 'yes')}}}", ":1: output: Input should be a valid number"),
        (f"- {{{LINE.replace('8.5', '$8.50')}}}", ":1: output: Input should be a valid number"),
        (f"- {{{LINE.replace('8.5', '[8.5]')}}}", ":1: output: Input should be a valid number"),
        (f"- {{{LINE.replace('openai', '[openai]')}}}", ":1: provider: Input should be a valid string"),
        (f"- {{{LINE.replace('gpt-4.1', '4.1')}}}", ":1: model: Input should be a valid string"),
        (f"- {{{LINE.replace('mine', '')}}}", ":1: source: Input should be a valid string"),
        (f"- {{{LINE}, finetuned: 'false'}}", ":1: finetuned: Input should be a valid boolean"),
        (f"- {{{LINE}, outptu: 3}}", ":1: outptu: no such key"),
        (f"- {{{LINE}, input: 3}}", ":1: key 'input' is given twice"),
        (f"- {{{LINE.replace('model', 'modell')}}}", ":1: model: Field required"),
        (f"- {{{LINE.replace('2026-11-29', '[]')}}}", ":1: read: "),
        ("- \xff", ":1: "),
    ],
)
def test_a_price_file_that_is_wrong_says_where_and_what_is_accepted(own: Path, text: str, said: str) -> None:
    own.write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecError) as caught:
        find_price(Service(), "gpt-4.1", finetuned=False)
    assert f"{own}{said}" in str(caught.value) and FORM in str(caught.value)


def test_a_price_file_that_is_none(own: Path) -> None:
    with pytest.raises(SpecError, match=r"own.yaml: no such file; a table of prices is a list"):
        find_price(Service(), "gpt-4.1", finetuned=False)
    own.mkdir()
    with pytest.raises(SpecError, match=r"own.yaml: expected a file; this is a folder"):
        find_price(Service(), "gpt-4.1", finetuned=False)
