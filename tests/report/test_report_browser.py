"""The page in a real browser: opened from a file, searched, filtered, on a phone, in the dark, with hostile
answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browsing import at_width, in_scheme, script
from weirdgen.report import ReportContent

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver


def rows(page: WebDriver) -> int:
    return int(script(page, "return document.querySelectorAll('#rows tbody tr').length"))


def fill(page: WebDriver, name: str, value: str) -> str:
    """Types into the search box or chooses an option by its text, as a user would; returns the count line."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select

    field = page.find_element(By.ID, name)
    if field.tag_name == "select":
        Select(field).select_by_visible_text(value)
    else:
        field.clear()
        field.send_keys(value)
    return page.find_element(By.ID, "count").text


def count(content: ReportContent, keep: Callable[[Any], bool], arms: tuple[str, ...]) -> int:
    """Rows of the table that have a kept answer among the first replicates of `arms`."""
    shown = content.completions[content.completions["arm"].isin(arms) & (content.completions["replicate"] <= 0)]
    return len(shown[shown.apply(keep, axis=1)][["condition", "question", "sample"]].drop_duplicates())


SHOWN = ("base", "old_names", "modern_american")


def test_verdict_comes_first(page: WebDriver, content: ReportContent) -> None:
    text = str(script(page, "return document.body.innerText")).split("\n")
    lines = [line for line in text if line.strip() and not line.startswith("Skip")]
    assert lines[:2] == ["≠", "Shift found"]
    assert lines[2] == content.results["headline"]["sentence"]
    top = script(page, "return document.querySelector('h1').getBoundingClientRect().top")
    assert 0 < top < 200


def test_search_filters_and_pages(page: WebDriver, content: ReportContent) -> None:
    from selenium.webdriver.common.by import By

    assert rows(page) == 3, "the first few; the rest when asked for"
    page.find_element(By.ID, "more").click()
    assert rows(page) == 25 and not page.find_element(By.ID, "more").is_displayed()
    assert page.find_element(By.ID, "count").text == "48 of 48 rows; showing 1–25"
    page.find_element(By.ID, "next").click()
    assert rows(page) == 23
    telegraph = count(content, lambda row: "telegraph" in row["text"].lower(), SHOWN)
    assert 0 < telegraph < 48
    assert fill(page, "find", "TELEGRAPH").startswith(f"{telegraph} of 48 rows")
    assert rows(page) == min(telegraph, 25)
    assert len(page.find_elements(By.CSS_SELECTOR, "#rows mark")) >= rows(page)
    fill(page, "find", "")
    assert fill(page, "condition", "year=2027").startswith("8 of 48 rows")
    assert fill(page, "question", "invention").startswith("4 of 48 rows")
    assert rows(page) == 4
    assert fill(page, "find", "no model says this").startswith("0 of 48 rows")
    assert rows(page) == 0


def test_verdict_filter_and_columns(page: WebDriver, content: ReportContent) -> None:
    from selenium.webdriver.common.by import By

    verdicts = content.verdicts
    refused = verdicts[(verdicts["arm"] == "modern_names") & (verdicts["status"] == "refusal")]
    seed = int(refused["replicate"].iloc[0])
    expected = int((refused["replicate"] == seed).sum())
    fill(page, "control", f"modern_names · seed {seed}")
    fill(page, "column", "control")
    assert fill(page, "verdict", "past_era: refusal").startswith(f"{expected} of 48 rows")
    assert rows(page) == expected
    head = page.find_elements(By.CSS_SELECTOR, "#rows thead th")
    assert [cell.text for cell in head] == [
        "Question",
        "base",
        f"modern_names · seed {seed}",
        "old_names · seed 0",
    ]
    chips = page.find_elements(By.CSS_SELECTOR, "#rows tbody td:nth-child(3) .chip.failed")
    assert [chip.text for chip in chips] == ["past_era: refusal"] * expected
    fill(page, "column", "any column")
    cut = count(content, lambda row: row["finish_reason"] == "length", ("base", "old_names"))
    seed_rows = content.completions[(content.completions["arm"] == "modern_names")]
    seed_rows = seed_rows[(seed_rows["replicate"] == seed) & (seed_rows["finish_reason"] == "length")]
    line = fill(page, "verdict", "cut at the token limit")
    assert cut <= int(line.split()[0]) <= cut + len(seed_rows)


def test_hostile_answers_are_text(page: WebDriver) -> None:
    assert fill(page, "find", "__pwned").split()[0] != "0"
    assert rows(page) > 0
    assert script(page, "return document.querySelectorAll('#rows img, #rows script, .card img').length") == 0
    assert script(page, "return typeof window.__pwned") == "undefined"
    assert "onerror" in script(page, "return document.getElementById('rows').innerText")
    fill(page, "find", "line one line two")
    assert rows(page) > 0
    logs = page.get_log("browser")  # type: ignore[no-untyped-call]
    assert [entry for entry in logs if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_horizontal_overflow(page: WebDriver, width: int) -> None:
    at_width(page, width)
    script(page, "document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    assert script(page, "return innerWidth") == width
    assert script(page, "return document.documentElement.scrollWidth <= innerWidth")
    if width == 390:
        beside = """
            return [...document.querySelectorAll('.stacks td')].filter((cell) => cell.getClientRects().length
              && cell.getBoundingClientRect().right > innerWidth).map((cell) => cell.textContent);"""
        assert script(page, beside) == [], "no column of a wide table is beside the screen"
    visible = "return [...document.querySelectorAll('.figure svg')].filter((s) => s.getClientRects().length).length"
    assert script(page, visible) == 5
    clipped = """
        const shown = [...document.querySelectorAll('.figure svg')].filter((s) => s.getClientRects().length);
        return shown.flatMap((s) => {
          const box = s.getBoundingClientRect();
          return [...s.querySelectorAll('text')].filter((t) => {
            const r = t.getBoundingClientRect();
            return r.left < box.left - 1 || r.right > box.right + 1
              || r.top < box.top - 1 || r.bottom > box.bottom + 1;
          }).map((t) => t.textContent);
        });"""
    assert script(page, clipped) == []


def test_dark_mode_changes_page_and_figures(page: WebDriver) -> None:
    look = """
        const mark = document.querySelector('#figure-effect .wide text');
        return [getComputedStyle(document.body).backgroundColor, getComputedStyle(mark).fill];"""
    colours = {}
    for scheme in ("light", "dark"):
        in_scheme(page, scheme)
        colours[scheme] = script(page, look)
    assert colours["light"][0] == "rgb(253, 252, 249)"
    assert colours["dark"][0] == "rgb(21, 23, 26)"
    assert colours["light"][1] != colours["dark"][1]


def test_keyboard_reaches_the_filters(page: WebDriver) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    script(page, "document.getElementById('find').focus()")
    reached = []
    for _ in range(8):
        active = page.switch_to.active_element
        reached.append(active.get_attribute("id"))
        active.send_keys(Keys.TAB)
    assert reached[:7] == ["find", "column", "condition", "question", "verdict", "control", "treatment"]
    page.find_element(By.ID, "next").send_keys(Keys.ENTER)
    assert page.find_element(By.ID, "page").text == "Page 2 of 2"
