"""Figures that answer: every mark says its value, by pointing, by pressing, from a table, and as a copy."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import script
from weirdgen.report import ReportContent
from weirdgen.report.figures.effect import effect_figure
from weirdgen.report.figures.marks import Mark, digits
from weirdgen.report.figures.paper import paper_figures
from weirdgen.report.sections import sections

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver


def test_every_replicate_and_mean_is_a_mark_with_its_own_value(content: ReportContent) -> None:
    drawing = effect_figure(content)
    assert drawing is not None
    means = content.headline_means()
    dots = {(mark.what, mark.seed): mark.value for mark in drawing.marks if mark.seed.startswith("seed")}
    wanted = {(row.arm, f"seed {row.replicate}"): row.value for row in means.itertuples() if row.arm != "base"}
    assert dots == pytest.approx(wanted) and len(dots) == 9
    estimate = next(row for row in content.headline_rows("estimates", question="all") if row["arm"] == "old_names")
    (mean,) = (mark for mark in drawing.marks if mark.what == "old_names" and mark.seed == "mean of 3")
    assert (mean.value, mean.low, mean.high) == (estimate["mean"], estimate["ci_low"], estimate["ci_high"])


def test_every_figure_has_marks_and_both_drawings_number_all_of_them(content: ReportContent) -> None:
    drawings = [drawing for section in sections(content) for drawing in section.drawings()]
    assert len(drawings) == 5
    for drawing in drawings:
        for svg in (drawing.svg, *drawing.inline):
            numbers = {int(number) for number in re.findall(r'class="mark" data-mark="(\d+)"', svg)}
            assert numbers == set(range(len(drawing.marks))), drawing.name
            assert 'id="mark-' not in svg


def test_words_of_a_mark() -> None:
    assert Mark("old", "seed 2", -2.8134).words("nats") == "old, seed 2: −2.81 nats"
    assert Mark("old − new", "", 0.5, 0.2, 0.834).words("nats") == "old − new: 0.5 nats [0.2, 0.834]"
    assert [digits(1234.5, 3), digits(0.00012, 3)] == ["1234", "0.00012"]


def test_pointing_says_the_value_and_pressing_a_question_leads_to_its_row(
    page: WebDriver, content: ReportContent
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert script(page, "return document.querySelectorAll('.mark > title').length") == 0  # not shown twice
    mark = page.find_element(By.CSS_SELECTOR, "#figure-per_question .wide .mark[data-row='q-telegraph'] use")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(page).move_to_element(mark).perform()
    tip = page.find_element(By.CSS_SELECTOR, ".tip")
    effect = next(
        row["effect"] for row in content.headline_rows("effects", control="modern_american", question="telegraph")
    )
    assert tip.is_displayed() and tip.text.startswith(f"telegraph: {digits(effect, 3)} nats [")
    ActionChains(page).click(mark).perform()
    tip.find_element(By.TAG_NAME, "button").click()
    assert not tip.is_displayed()
    assert script(page, "return document.activeElement.id") == "q-telegraph"
    assert script(page, "return document.getElementById('q-telegraph').closest('details').open") is True
    ActionChains(page).click(mark).perform()
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_values_and_picture_can_be_copied(page: WebDriver) -> None:
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.execute_cdp_cmd("Browser.grantPermissions", grant)
    script(page, "window.kept = []; navigator.clipboard.write = async (items) => { window.kept.push(...items); }")
    read = """
        const done = arguments[0];
        const [values, picture] = document.querySelectorAll('#figure-effect .tools button');
        values.click(); picture.click();
        const wait = async () => {
          if (window.kept.length < 2) { setTimeout(wait, 50); return; }
          const text = await (await window.kept.find((i) => i.types[0] === 'text/plain').getType('text/plain')).text();
          const image = await window.kept.find((i) => i.types[0] === 'image/png').getType('image/png');
          const bitmap = await createImageBitmap(image);
          const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
          pen.drawImage(bitmap, 0, 0);
          const colours = new Set();
          const pixels = pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
          for (let i = 0; i < pixels.length; i += 4) colours.add(pixels[i] + ',' + pixels[i + 1] + ',' + pixels[i + 2]);
          done([text, bitmap.width, colours.size, colours.has('194,65,12')]);
        };
        wait();"""
    page.set_script_timeout(10)
    text, width, colours, treatment = page.execute_async_script(read)
    lines = text.splitlines()
    assert lines[0] == "what,of,value,from,to" and len(lines) > 15
    assert all(
        re.fullmatch(r'("[^"]+"|[^,]+),[^,]*,-?[\d.e-]+,(-?[\d.e-]+)?,(-?[\d.e-]+)?', line) for line in lines[1:]
    )
    assert width > 900 and colours > 20 and treatment


def test_the_answers_of_a_question_open(page: WebDriver) -> None:
    link = "document.querySelector('a[data-question=\"day\"]')"
    script(page, f"{link}.closest('details').open = true; {link}.click()")
    assert script(page, "return document.getElementById('question').selectedOptions[0].textContent") == "day"
    assert str(script(page, "return document.getElementById('count').textContent")).startswith("24 of 48 rows")


def test_the_papers_axis_is_ours_or_the_page_says_that_it_is_not(content: ReportContent) -> None:
    point = {"at": "x", "arm": "old_names", "value": 0.9, "low": None, "high": None, "condition": None, "measure": None}
    captions = []
    for measure, question in (("past_era", "invention"), ("contrast", "telegraph")):
        figure = {"title": "t", "section": "§1", "model": "GPT", "read": "r", "measure": measure, "condition": "none"}
        figure["points"] = [{**point, "question": question}]  # type: ignore[assignment]
        results = content.results | {"paper": {"source": "s", "figures": [figure]}}
        (drawing,) = paper_figures(replace(content, results=results))
        ours, theirs = drawing.paint(7.4).axes
        captions.append((drawing.caption, ours.get_xlim() == theirs.get_xlim()))
    assert captions[0][1] and captions[0][0].startswith("Both panels are shares of answers on axes of one range.")
    assert not captions[1][1] and captions[1][0].startswith("The two panels cannot be compared: ours are nats")
