"""Large runs: a report of 100,000 answers, the estimates of 1,000,000. Slow: they are measured alone, not in the suite."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.big_run import big_run
from tests.support.browsing import script
from weirdgen.runs.results.reporting import report_run

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

ESTIMATE = """
import resource, sys
from weirdgen.runs.results.results import load_run
run = load_run(sys.argv[1])
print(len(run.completions()), len(run.effects()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_a_hundred_thousand_answers_are_rendered_into_a_page_that_opens_at_once(
    browser: WebDriver, tmp_path: Path
) -> None:
    run = big_run(tmp_path, samples=48)
    started = time.monotonic()
    page = report_run(run)
    seconds = time.monotonic() - started
    assert len(run.completions()) == 99_840
    started = time.monotonic()
    browser.get(page.as_uri())
    assert script(browser, "return document.querySelectorAll('#rows tbody tr').length") == 3
    opened = time.monotonic() - started
    text = page.read_text(encoding="utf-8")
    assert "of 99840 answers are in this page" in text
    assert 'href="completions.parquet"' in text
    print(f"rendered in {seconds:.1f} s, {len(text) / 1e6:.1f} MB, opened in {opened:.2f} s")
    assert seconds < 20
    assert opened < 2


@pytest.mark.slow
def test_a_million_answers_are_judged_and_estimated(tmp_path: Path) -> None:
    """In a process of its own, whose peak memory is then its own."""
    run = big_run(tmp_path, samples=480)
    for what in ("judged and estimated", "estimated from stored verdicts"):
        started = time.monotonic()
        command = [sys.executable, "-c", ESTIMATE, str(run.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.monotonic() - started
        answers, effects, kilobytes = map(int, done.stdout.split())
        print(f"{what} in {seconds:.1f} s, {kilobytes / 2**20:.2f} GiB")
        assert answers == 998_400
        assert effects > 100
        assert seconds < 60
        assert kilobytes * 1024 < 3.3e9  # 3.08e9 with the form of every answer, which came in since
