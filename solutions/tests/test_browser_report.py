"""report.html in a real browser, as an instructor sees it on a projector: for a small class and for a large one."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from checks.grader.reports.report import SMALL_CLASS, report_page
from checks.grader.settled import SettledRow
from solutions.tests.helpers.browsing import chromium
from solutions.tests.helpers.made_up_rows import HOSTILE, hostile_rows, made_up_class
from solutions.tests.helpers.report_pages import ABOUT

SIZE = {"width": 1280, "height": 720}
ON_SCREEN = "element => { const box = element.getBoundingClientRect(); return [box.top, box.bottom]; }"
CONTRASTS = """() => {
    const luminance = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(value => value / 255)
            .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === 'rgba(0, 0, 0, 0)' ? behind(element.parentElement) : colour;
    };
    return [...document.querySelectorAll('body *')].filter(element => element.innerText && element.checkVisibility())
        .map(element => {
            const pair = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
            return [(pair[0] + 0.05) / (pair[1] + 0.05), element.outerHTML.slice(0, 80)];
        });
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def open_report(browser, rows: list[SettledRow], folder: Path) -> Page:
    """The report in a window of a projector's size. A request for anything but the page itself fails the test."""
    path = folder / "report.html"
    path.write_text(report_page(rows, ABOUT), encoding="utf-8")
    page = browser.new_page(viewport=SIZE)
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.goto(path.as_uri())
    page.screenshot(path=folder / "first_screen.png")
    page.screenshot(path=folder / "report.png", full_page=True)
    assert requests == [path.as_uri()] and not errors
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZE["width"]
    return page


@pytest.mark.parametrize("students", [12, 2000])
def test_the_report_is_read_from_the_top_at_any_size(browser, tmp_path, students):
    rows = made_up_class(students)
    page = open_report(browser, rows, tmp_path)
    first = page.locator("main h3").first
    assert "flagged" in first.inner_text()
    top, bottom = first.evaluate(ON_SCREEN)
    assert 0 <= top < bottom <= SIZE["height"]  # on the first screen, with the reason of the first one below it
    top, bottom = page.locator("main tbody tr").first.evaluate(ON_SCREEN)
    assert bottom <= SIZE["height"]

    headings = page.locator("h2").all_inner_texts()
    assert headings[:2] == ["For your eyes first", "Who has earned what"]
    heat = page.locator("table.heat").first
    top, bottom = heat.evaluate(ON_SCREEN)
    assert bottom - top <= SIZE["height"]  # the whole class at one glance
    left = heat.evaluate("table => table.parentElement.scrollWidth - table.parentElement.clientWidth")
    assert left == 0  # and nothing of it to the right of the window
    sizes = page.evaluate("[...document.querySelectorAll('main *')].map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert min(sizes) >= 13
    ratio, where = min(page.evaluate(CONTRASTS))
    assert ratio >= 4.5, where  # WCAG 2.2, 1.4.3

    last = max(row.student for row in rows)
    line = page.locator("table.heat tr", has_text=last).last
    if students > SMALL_CLASS:
        assert not line.is_visible()
        page.locator("details", has=page.locator(f"text={last}")).last.locator("summary").click()
    assert line.is_visible()
    line.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "found.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZE["width"]


def test_hostile_names_neither_run_nor_widen_the_page(browser, tmp_path):
    page = open_report(browser, hostile_rows(), tmp_path)
    assert page.locator("script, img").count() == 0
    assert page.locator("h1").all_inner_texts() == [f"Grades: {ABOUT['course']}"]
    for name in HOSTILE[:3]:
        assert page.get_by_text(name, exact=True).count() >= 2
    heights = page.evaluate("[...document.querySelectorAll('table.heat tbody tr')].map(row => row.offsetHeight)")
    assert max(heights) < 30  # no name grows over the lines around it
