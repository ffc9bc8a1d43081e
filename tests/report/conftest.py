"""What the report's tests share: made-up contents, one page of them, and a browser that has it open."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import browser
from tests.support.report_content import build
from weirdgen.report import ReportContent, write_report

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

__all__ = ["browser"]


@pytest.fixture
def make_content() -> Callable[..., ReportContent]:
    """`build`, for tests that need another number of replicates or another effect."""
    return build


@pytest.fixture
def content() -> ReportContent:
    """Three arms with three replicates each, six conditions, hostile answers."""
    return build()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `content`: 6 conditions × 2 free-form questions × 4 samples make 48 rows of its table."""
    return write_report(build(), tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser: WebDriver, written: Path) -> WebDriver:
    """The browser with that page open."""
    browser.get(written.as_uri())
    return browser


@pytest.fixture
def fetched() -> Callable[[str], list[str]]:
    """Finds what a page would fetch: values of attributes and CSS references, links that one must click left
    out.
    """

    def find(page: str) -> list[str]:
        rest = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
        attribute = r"<(?!a\b)[^>]*?\s(?:src|href|srcset|data|action|poster)=[\"']?([^\"'\s>]+)"
        return re.findall(attribute, rest) + re.findall(r"(?:url\(|@import\s+)([^);]+)", rest)

    return find
