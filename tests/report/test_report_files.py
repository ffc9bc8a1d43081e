"""What `write_report` writes: the right files, safe, complete, the same bytes each time."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from weirdgen.errors import WeirdgenError
from weirdgen.report import ReportContent, write_report
from weirdgen.report.render import card_html
from weirdgen.report.transcripts import script_json, transcripts
from weirdgen.report.warnings import warnings
from weirdgen.report.words import meaning
from weirdgen.store.disk import write_whole

FIGURES = ["effect", "losses", "per_question", "sweep_contrast", "sweep_past_era"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_all_files_and_nothing_else(content: ReportContent, tmp_path: Path) -> None:
    assert write_report(content, tmp_path) == tmp_path / "report.html"
    expected = {"report.html", "results.json", ".weirdgen.json"}
    expected |= {f"figures/{name}.{ending}" for name in FIGURES for ending in ("svg", "png")}
    written = files_of(tmp_path)
    assert set(written) == expected
    for name in FIGURES:
        ElementTree.fromstring(written[f"figures/{name}.svg"])
        assert written[f"figures/{name}.png"].startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_writes_are_byte_identical(make_content: Callable[..., ReportContent], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(make_content(), tmp_path / name)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_results_json_begins_with_the_headline_and_has_no_nan(
    make_content: Callable[..., ReportContent], tmp_path: Path
) -> None:
    content = make_content(replicates=1)
    assert any(math.isnan(row["ci_low"]) for row in content.results["effects"])
    write_report(content, tmp_path)
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    results = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in results.json"))
    assert list(results)[:2] == ["headline", "schema_version"]
    assert results["headline"]["ci_low"] is None
    assert results["run"]["seconds"] == 1432.5
    assert text.startswith('{\n  "headline": {')


def test_page_fetches_nothing(content: ReportContent, fetched: Callable[[str], list[str]], tmp_path: Path) -> None:
    page = write_report(content, tmp_path).read_text(encoding="utf-8")
    assert fetched('<img src="https://example.org/x.png">') == ["https://example.org/x.png"]
    assert fetched("<style>a { background: url(http://example.org) }</style>") == ["http://example.org"]
    assert [target for target in fetched(page) if not target.startswith("#")] == []
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page


def test_every_reference_inside_the_page_has_its_target_once(content: ReportContent, tmp_path: Path) -> None:
    page = write_report(content, tmp_path).read_text(encoding="utf-8")
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'(?:href="|url\()#([^")]+)', page))
    assert len(references) > 20
    assert references <= set(ids)


def test_the_words_of_models_stay_inside_the_data_script(content: ReportContent, tmp_path: Path) -> None:
    page = write_report(content, tmp_path).read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    assert data[1].isascii()
    texts = {row[6] for row in json.loads(data[1])["rows"]}
    assert texts == set(content.completions["text"])
    assert "__pwned" not in page.replace(data[0], "").replace(card_html(str(content.card_markdown)), "")


def test_script_json_neutralises_what_ends_or_reinterprets_a_script() -> None:
    wicked = "</script><!-- \u2028\u2029 & ]]> \x00 \ud83d"
    text = script_json([wicked])
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == [wicked]


def test_card_shows_html_as_text_and_keeps_only_web_links() -> None:
    html = card_html(
        "# A\n<b onclick=x>raw</b>\n\n![pic](http://e.org/x.png) [a](https://e.org) [b](data/x.csv)\n\n|h|\n|-|\n|c|"
    )
    assert "<h3>A</h3>" in html
    assert "&lt;b onclick=x&gt;" in html
    assert "<td>c</td>" in html
    assert "<img" not in html
    assert "pic" in html
    assert re.findall(r'href="([^"]*)"', html) == ["https://e.org"]


def test_titles_and_names_of_the_experiment_are_escaped(content: ReportContent, tmp_path: Path) -> None:
    content.results["experiment"]["title"] = "<script>alert(1)</script>"
    content.results["ran"]["machine"]["cpu"] = '"><img src=x>'
    page = write_report(content, tmp_path).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<img src=x>" not in page


def test_large_samples_are_cut_evenly_and_the_page_says_so(
    make_content: Callable[..., ReportContent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = make_content(samples=6)
    part = transcripts(content, limit=200)
    assert part.total == len(content.completions) == 10 * 6 * 2 * 6
    assert part.shown == 200
    rows = pd.DataFrame(json.loads(part.json)["rows"])
    for column in (0, 1, 3):
        models = rows.groupby([column, 4] if column == 3 else [column]).size()
        assert models.max() - models.min() <= 20, f"column {column} is uneven: {models.to_dict()}"
    assert part == transcripts(content, limit=200)
    monkeypatch.setattr("weirdgen.report.sections.transcripts", lambda content: transcripts(content, limit=200))
    page = write_report(content, tmp_path).read_text(encoding="utf-8")
    assert "200 of 720 answers are in this page" in page
    assert "completions.parquet" in page


def test_whole_or_old_file_never_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_whole(path, b"old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("weirdgen.store.artifacts.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert files_of(tmp_path) == {"report.html": b"old"}


@pytest.mark.slow
def test_figures_of_an_earlier_report_do_not_stay(make_content: Callable[..., ReportContent], tmp_path: Path) -> None:
    write_report(make_content(), tmp_path)
    write_report(make_content(sweep=False), tmp_path)
    assert {p.stem for p in (tmp_path / "figures").iterdir()} == {"effect", "per_question", "losses"}


def test_empty_tables_make_a_page_that_says_so(content: ReportContent, tmp_path: Path) -> None:
    empty = pd.DataFrame()
    bare = dict(content.results, estimates=[], effects=[], failures=[])
    nothing = replace(
        content,
        results=bare,
        cells=empty,
        contrasts=empty,
        completions=empty,
        verdicts=empty,
        losses=empty,
        questions=empty,
        card_markdown=None,
        conditions=None,
    )
    page = write_report(nothing, tmp_path).read_text(encoding="utf-8")
    for sentence in ("No training loss was recorded", "No answers were sampled", "No answer was judged"):
        assert sentence in page
    assert not (tmp_path / "figures").exists()


def test_missing_columns_and_unknown_verdicts_are_named_together(content: ReportContent) -> None:
    results = dict(content.results, headline=dict(content.results["headline"], verdict="maybe"))
    with pytest.raises(WeirdgenError, match=r"(?s)'maybe'; accepted: shift.*completions lacks text, finish_reason"):
        replace(content, results=results, completions=content.completions.drop(columns=["text", "finish_reason"]))


def test_an_unwritable_folder_is_an_error_for_the_user(content: ReportContent, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WeirdgenError, match="taken"):
        write_report(content, tmp_path / "taken")


def test_warnings_name_what_weakens_the_verdict(make_content: Callable[..., ReportContent]) -> None:
    three = " ".join(warnings(make_content(replicates=3)))
    assert "below 0.1," in three
    assert "smollm2-135m-instruct" in three
    assert "verdicts of past_era failed" in three
    assert "Within-model only" not in three
    six = " ".join(warnings(make_content(replicates=6)))
    assert "permutation" not in six
    single = make_content(replicates=1)
    assert warnings(single)[0].startswith("Within-model only")
    assert "trained only once" in meaning(single)


def test_failed_verdicts_are_counted_in_the_page(content: ReportContent, tmp_path: Path) -> None:
    failed = content.verdicts[content.verdicts["status"] != "ok"]
    page = write_report(content, tmp_path).read_text(encoding="utf-8")
    assert f"{len(failed)} of {len(content.verdicts)} verdicts failed" in page
    for status in ("refusal", "incoherent", "unparseable", "error"):
        assert f">{status}</th>" in page
