"""The report in a real browser, Debian's chromium: 500 operators, names that attack it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_reports import HOSTILE, large_report
from needed import missing

from tvmcomp.report.html.page import page

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

#: Seconds until the graph of 500 operators is laid out, on a busy machine.
_PATIENCE = 120


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(large_report()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(file: Path) -> Iterator[Any]:
    binary, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or chromedriver is None:
        missing("apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(chromedriver)
    with webdriver.Chrome(options=options, service=service) as driver:
        driver.get(file.as_uri())
        WebDriverWait(driver, _PATIENCE).until(
            lambda d: d.find_element(By.ID, "graph").get_attribute("aria-busy") == "false"
        )
        yield driver


@pytest.fixture
def run(browser: Any) -> Callable[..., Any]:
    """Runs a line of JavaScript, and gives its value."""
    return lambda code, *arguments: browser.execute_script(f"return {code}", *arguments)


def test_it_weighs_at_most_two_megabytes(file: Path) -> None:
    assert file.stat().st_size <= 2_000_000


def test_nothing_is_fetched_and_nothing_complains(browser: Any, run: Callable[..., Any]) -> None:
    assert browser.get_log("browser") == []
    assert run("performance.getEntriesByType('resource').length") == 0


def test_names_run_nothing_and_are_shown_as_they_are(run: Callable[..., Any]) -> None:
    assert run("window.hacked") is None
    assert run("document.images.length") == 0
    assert run("document.title") == HOSTILE[0]
    names = run("[...document.querySelectorAll('#operators button.link')].map(b => b.textContent)")
    assert {name for name in HOSTILE if "\t" not in name} <= set(names)


def test_the_policy_lets_no_other_script_run(run: Callable[..., Any]) -> None:
    script = "Object.assign(document.createElement('script'), {textContent: 'window.late = 1'})"
    run(f"document.body.append({script})")
    assert run("window.late") is None
    run("document.getElementById('status').setAttribute('onclick', 'window.late = 1')")
    run("document.getElementById('status').click()")
    assert run("window.late") is None


@pytest.mark.parametrize(
    ("chart", "mark", "count"),
    [
        ("front-chart", "[aria-label=dot] circle", 40),
        ("timeline-chart", "[aria-label=rect] rect", 250),
        ("latency-chart", "[aria-label=rect] rect", 20),
        ("roofline-chart", "[aria-label=dot] circle", 75),
        ("graph", ".node rect", 501),
    ],
)
def test_plots_are_there(run: Callable[..., Any], chart: str, mark: str, count: int) -> None:
    found = run("document.querySelectorAll(`#${arguments[0]} ${arguments[1]}`).length", chart, mark)
    assert found >= count
    box = run(
        "document.querySelector(`#${arguments[0]} svg[aria-label]`).getBoundingClientRect()", chart
    )
    assert box["width"] > 200 and box["height"] > 100


def test_tables_are_sorted_by_their_heads(browser: Any, run: Callable[..., Any]) -> None:
    column = (
        "[...document.querySelectorAll('#operators tbody tr')].map(r => r.cells[5].dataset.value)"
    )
    head = browser.find_element(
        By.XPATH, "//table[@id='operators']//th[normalize-space()='ms']/button"
    )
    run("arguments[0].click()", head)
    values = [float(value) for value in run(column) if value]
    assert values == sorted(values, reverse=True) and len(values) == 250
    run("arguments[0].click()", head)
    values = [float(value) for value in run(column) if value]
    assert values == sorted(values)
    assert run("arguments[0].parentNode.getAttribute('aria-sort')", head) == "ascending"
    assert run(column)[-1] == ""  # what has no time comes last, either way


def test_a_table_is_copied_as_csv(browser: Any, run: Callable[..., Any]) -> None:
    browser.execute_script(
        "navigator.clipboard.writeText = async (text) => { window.copied = text; };"
    )
    run("document.querySelector('[data-csv=operators]').click()")
    lines = run("window.copied").split("\r\n")
    assert lines[0].startswith("order,operator,kind,before,computes in,ms,share %,why")
    assert len(lines) == 501
    formulas = [line for line in lines if "HYPERLINK" in line]
    assert formulas and all("'=HYPERLINK" in line for line in formulas)  # no spreadsheet runs it


def test_a_table_is_searched(browser: Any, run: Callable[..., Any]) -> None:
    field = browser.find_element(By.CSS_SELECTOR, "input[data-filter=operators]")
    field.send_keys("guard conv")
    shown = run(
        "[...document.querySelectorAll('#operators tbody tr')].filter(r => !r.hidden).length"
    )
    assert run("document.getElementById('operators-count').textContent") == f"{shown} of 500"
    assert 0 < shown < 100
    field.clear()
    field.send_keys("x", Keys.BACKSPACE)


def test_the_graph_is_walked_by_keyboard(browser: Any, run: Callable[..., Any]) -> None:
    stops = "document.querySelectorAll('#graph [tabindex=\"0\"]').length"
    assert run(stops) == 1
    run("document.querySelector('#graph [tabindex=\"0\"]').focus()")
    active = "document.activeElement.getAttribute('aria-label')"
    browser.switch_to.active_element.send_keys(Keys.HOME)
    browser.switch_to.active_element.send_keys(Keys.DOWN)
    assert run(active).startswith("model_features_0_")
    browser.switch_to.active_element.send_keys(Keys.DOWN)
    assert run(active).startswith("model_features_1_")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert run("document.getElementById('details').open")
    assert run("document.activeElement.id") == "details-title"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not run("document.getElementById('details').open")
    assert run(active).startswith("model_features_1_")
    assert run(stops) == 1


def test_the_graph_finds_operators_and_changes_colours(
    browser: Any, run: Callable[..., Any]
) -> None:
    browser.find_element(By.ID, "graph-text").send_keys("features_44_", Keys.ENTER)
    assert "1 of 1" in run("document.getElementById('graph-found').textContent")
    fills = "[...document.querySelectorAll('#graph .node rect')].map(r => r.getAttribute('fill'))"
    seen = set()
    for colour in ("time", "format", "harm"):
        run("document.querySelector(`input[name=colour][value=${arguments[0]}]`).click()", colour)
        seen.add(tuple(run(fills)))
    assert len(seen) == 3


def test_a_bar_of_time_shows_its_operator(browser: Any, run: Callable[..., Any]) -> None:
    chart = browser.find_element(By.CSS_SELECTOR, "#timeline-chart svg[aria-label]")
    ActionChains(browser).scroll_to_element(chart).move_to_element(chart).click().perform()
    name = run("document.getElementById('details-title').textContent")
    assert run("document.getElementById('details').open") and "features_" in name
    run("document.getElementById('details-close').click()")


def test_a_candidate_shows_its_details(run: Callable[..., Any]) -> None:
    mark = "document.querySelector('#front-chart circle')"
    run(f"{mark}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    text = run("document.getElementById('details').textContent")
    assert "95% confidence" in text and HOSTILE[0] in text
    run("document.getElementById('details-close').click()")
    assert run(f"{mark}.getAttribute('tabindex')") == "0"


def test_dark_and_light(browser: Any, run: Callable[..., Any]) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        seen.append(run(back))
    assert seen[0] == "rgb(255, 255, 255)" and seen[1] != seen[0]
    run("document.getElementById('theme').click()")
    assert run(back) == seen[0]
    run("document.getElementById('theme').click()")
    assert run(back) == seen[1]


def test_controls_have_names_and_pictures_too(run: Callable[..., Any]) -> None:
    unnamed = """[...document.querySelectorAll('button, input')]
        .filter(each => !each.textContent.trim()
        && !each.getAttribute('aria-label') && !each.closest('label')).length"""
    assert run(unnamed) == 0
    charts = "[...document.querySelectorAll('.chart svg[aria-label]')].length"
    assert run(charts) >= 4


def test_a_phone_shows_it_without_scrolling(browser: Any, run: Callable[..., Any]) -> None:
    chart = "document.querySelector('#timeline-chart svg[aria-label]')"
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        WebDriverWait(browser, _PATIENCE).until(lambda d: run(f"{chart}.clientWidth < 360"))
        assert run("document.documentElement.scrollWidth") <= 360
        assert run("document.body.scrollWidth") <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
