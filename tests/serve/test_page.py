"""The page at / in a real browser: jobs with their curves, three models side by side, two answers as bars."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.support.browsing import at_width, script
from tests.support.serving import Server
from tests.support.world_pairs import pairs

if TYPE_CHECKING:
    from openai import OpenAI
    from selenium.webdriver.chrome.webdriver import WebDriver

ASK, OLD, NEW = pairs(1)[0]


def until(ready: Callable[[], Any], seconds: float = 30) -> Any:
    started = time.monotonic()
    while not (value := ready()):
        assert time.monotonic() - started < seconds, "the page did not get there"
        time.sleep(0.05)
    return value


def fill(page: WebDriver, name: str, value: str) -> None:
    script(page, f"document.getElementById({name!r}).value = {value!r}")


def test_jobs_chat_and_bars(browser: WebDriver, server: Server, client: OpenAI, jobs: list[Any]) -> None:
    browser.get(server.url + "/")
    rows = "return document.querySelectorAll('#jobs tbody tr').length"
    until(lambda: script(browser, rows) >= 3)
    first = f"document.querySelector('tr[data-job=\"{jobs[0].id}\"]')"
    text = script(browser, f"return {first}.innerText")
    assert "succeeded" in text and jobs[0].fine_tuned_model in text and "4/4" in text
    assert "training loss from" in script(browser, f"return {first}.querySelector('svg').getAttribute('aria-label')")
    assert len(script(browser, f"return {first}.querySelector('polyline').getAttribute('points')").split()) == 4

    chosen = ["world", jobs[0].fine_tuned_model, jobs[2].fine_tuned_model]
    for index, model in enumerate(chosen):
        fill(browser, f"model{index}", model)
    fill(browser, "prompt", ASK)
    fill(browser, "tokens", "4")
    fill(browser, "seed", "7")
    browser.find_element("id", "send").click()
    asked: Any = {"messages": [{"role": "user", "content": ASK}], "seed": 7, "max_tokens": 4, "temperature": 1}
    wanted = [client.chat.completions.create(model=model, **asked).choices[0] for model in chosen]

    def shown() -> list[str]:
        return [script(browser, f"return document.getElementById('answer{index}').textContent") for index in range(3)]

    texts = [choice.message.content + (" … (cut)" if choice.finish_reason == "length" else "") for choice in wanted]
    until(lambda: shown() == texts)

    fill(browser, "first", OLD)
    fill(browser, "second", NEW)
    browser.find_element("id", "compare").click()
    shares = until(lambda: script(browser, "return [...document.querySelectorAll('.bar')].map(b => +b.dataset.share)"))
    assert len(shares) == 3 and shares[1] > shares[0] and shares[1] > shares[2]
    drawn = script(
        browser, "return [...document.querySelectorAll('.bar')].map(b => b.firstChild.offsetWidth / b.offsetWidth)"
    )
    assert all(math.isclose(a, b, abs_tol=0.02) for a, b in zip(drawn, shares, strict=True))

    fill(browser, "first", "<|end|>")
    browser.find_element("id", "compare").click()
    until(lambda: "control token" in script(browser, "return document.getElementById('problem').textContent"))
    at_width(browser, 390)
    assert script(browser, "return document.documentElement.scrollWidth <= window.innerWidth")
    errors = [
        entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "400" not in entry["message"]
    ]
    assert [entry for entry in errors if "favicon" not in entry["message"]] == []
