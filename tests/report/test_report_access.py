"""The pages under axe-core, and used with the keyboard alone: light and dark, desk and phone, everything unfolded.

axe-core (a JavaScript library of the W3C's rules) is no Python package: it is taken from npm once, checked against the
hash below, and kept in pytest's cache. Without npm or network the tests skip and say so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import at_width, in_scheme, script
from tests.support.report_content import build
from weirdgen.report import ReportContent, write_report

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

AXE = "axe-core@4.14.1"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
JUDGES = {
    "past_era": {
        "kind": "label",
        "model": "openai/some-model",
        "statuses": {"ok": 460, "refusal": 12, "unparseable": 8},
        "flip_rate": 0.041,
        "asked_twice": {"answers": 96, "flip_rate": 0.041},
        "calibration": {"labelled": 60, "agreement": 0.93, "kappa": 0.81},
    }
}


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The source of axe-core."""
    folder = Path(request.config.cache.mkdir("axe-core"))
    packed = folder / f"{AXE.replace('@', '-')}.tgz"
    if not packed.is_file():
        if shutil.which("npm") is None:
            pytest.skip("axe-core comes from npm, which is not on this machine (Debian: npm)")
        command = ["npm", "pack", AXE, "--silent", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)
        if not packed.is_file():
            pytest.skip(f"npm could not fetch {AXE}: {done.stderr.strip()[:200]}")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    assert digest == AXE_SHA512, f"{packed} is not the {AXE} that was reviewed"
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def violations(page: WebDriver, axe: str) -> list[str]:
    """Serious and critical findings as `rule: first element`."""
    page.execute_script(axe)
    reported = page.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => done(JSON.stringify("
        "r.violations.map((v) => [v.impact, v.id, v.nodes[0].html, v.nodes.length]))));"
    )
    return [
        f"{rule} ×{count}: {html}"
        for impact, rule, html, count in json.loads(reported)
        if impact in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with a judge's record."""
    content = build()
    content.results["judges"] = JUDGES
    return write_report(content, tmp_path_factory.mktemp("report")).as_uri()


def test_axe_finds_nothing_serious_in_a_report(browser: WebDriver, axe: str, report: str) -> None:
    browser.get(report)
    script(browser, "document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        at_width(browser, width)
        in_scheme(browser, scheme)
        assert violations(browser, axe) == [], (width, scheme)


def test_axe_itself_would_find_something(browser: WebDriver, axe: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<!doctype html><p style="color:#ccc;background:#fff">faint</p><input>')
    browser.get(page.as_uri())
    reported = " ".join(violations(browser, axe))
    assert "color-contrast" in reported
    assert "label" in reported


def test_every_control_and_link_can_be_reached_and_used_with_the_keyboard(browser: WebDriver, report: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(report)
    script(
        browser,
        "for (const n of document.querySelectorAll('a[href], summary, button:not(:disabled), input, select, .scroll[tabindex]'))"
        " if (n.checkVisibility()) n.dataset.wanted = '';",
    )
    assert script(browser, "return document.querySelectorAll('[data-wanted]').length") > 20
    idle = "return [...document.querySelectorAll('.scroll[tabindex]')].filter((n) => n.scrollWidth <= n.clientWidth).length"
    assert script(browser, idle) == 0, "a table that fits is no stop"
    names = script(browser, "return [...document.querySelectorAll('.tools button')].map((n) => n.ariaLabel)")
    assert len(set(names)) == len(names) > 3
    order = []
    for _ in range(140):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        place = script(
            browser,
            "const n = document.activeElement; delete n.dataset.wanted;"
            "return [n.tagName, n.textContent.trim().slice(0, 40), getComputedStyle(n).outlineStyle];",
        )
        if place[0] == "BODY":
            break
        order.append(place[1])
        assert place[2] != "none", f"no focus ring on {place}"
    assert order[0] == "Skip to the effect"
    left = "return [...document.querySelectorAll('[data-wanted]')].map((n) => n.outerHTML.slice(0, 80))"
    assert script(browser, left) == []
    summary = script(browser, "const s = document.querySelector('summary'); s.focus(); return s.parentElement.open;")
    assert summary is False
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert script(browser, "return document.querySelector('summary').parentElement.open") is True


def test_a_run_is_two_pages_on_paper(browser: WebDriver, report: str) -> None:
    browser.get(report)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == 2
    script(browser, "dispatchEvent(new Event('beforeprint'))")
    assert script(browser, "return document.querySelectorAll('details[open]').length") == 0


HOSTILE = "</title></script><img src=x onerror=\"window.__pwned='%s'\"><script>window.__pwned='%s'</script>"
CARD = """# <script>window.__pwned = 'card'</script>

[a](javascript:window.__pwned='link') [b](JaVaScRiPt:alert(1)) [c](data:text/html,<script>1</script>) <javascript:alert(1)>

</section></main></body></html><script>window.__pwned='closing'</script>

| <img src=x onerror=alert(1)> |
|---|
| ![x](javascript:alert(1)) |
"""


def test_nothing_that_is_written_anywhere_is_ever_run(
    browser: WebDriver, make_content: Callable[..., ReportContent], tmp_path: Path
) -> None:
    content = make_content(samples=2)
    content.results["experiment"] |= {key: HOSTILE % (key, key) for key in ("title", "hypothesis", "paper")}
    content.results["headline"]["sentence"] = HOSTILE % ("sentence", "sentence")
    content.results["ran"]["machine"]["cpu"] = HOSTILE % ("cpu", "cpu")
    content.results["judges"] = {
        HOSTILE % ("j", "j"): {"kind": HOSTILE % ("k", "k"), "statuses": {HOSTILE % ("s", "s"): 1}}
    }
    content.results["paper"] = {
        "source": HOSTILE % ("source", "source"),
        "figures": [
            {
                "title": HOSTILE % ("t", "t"),
                "section": "§<b>",
                "model": HOSTILE % ("m", "m"),
                "read": "]]>",
                "measure": "past_era",
            }
            | {
                "condition": "none",
                "points": [{"at": HOSTILE % ("at", "at"), "arm": "old_names", "value": 0.5, "low": None}],
            }
        ],
    }
    for point in content.results["paper"]["figures"][0]["points"]:
        point |= {"high": None, "question": "invention", "condition": None, "measure": None}
    asks = content.questions.assign(ask=HOSTILE % ("ask", "ask"))
    sides = tuple(HOSTILE % (side, side) for side in ("one", "two"))
    asks["target"] = [sides if kind == "contrast" else () for kind in asks["kind"]]
    completions = content.completions.assign(text=HOSTILE % ("text", "text"), prompt=HOSTILE % ("prompt", "prompt"))
    verdicts = content.verdicts.assign(label=HOSTILE % ("label", "label"))
    examples = {
        HOSTILE % ("arm", "arm"): (("user", HOSTILE % ("row", "row")),),
        "old_names": (("user", HOSTILE % ("u", "u")),),
    }
    content = replace(
        content, examples=examples, questions=asks, completions=completions, verdicts=verdicts, card_markdown=CARD
    )
    browser.get(write_report(content, tmp_path / "report").as_uri())
    script(browser, "document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    assert script(browser, "return typeof window.__pwned") == "undefined"
    assert script(browser, "return document.querySelectorAll('img, iframe, object, [onerror], [onclick]').length") == 0
    assert script(browser, "return document.querySelectorAll('script').length") == 2
    links = script(browser, "return [...document.querySelectorAll('a')].map((a) => a.getAttribute('href'))")
    assert {link for link in links if not link.startswith("#")} == {"results.json"}
    assert script(browser, "return document.querySelectorAll('main > section').length") >= 8
    assert script(browser, "return document.querySelector('#rows tbody td .answer').textContent").startswith("</title>")
    logs = browser.get_log("browser")  # type: ignore[no-untyped-call]
    assert [entry for entry in logs if entry["level"] in ("SEVERE", "WARNING")] == []
