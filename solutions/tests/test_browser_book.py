"""The book in a real browser: every page, in light and dark, by keyboard, and its search.

`--book FOLDER` opens one that is there; else it is a book of one made-up lesson.
"""

import base64
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from playwright.sync_api import Page

from solutions.classroom import book
from solutions.release import build
from solutions.tests.helpers.boxes_lesson import NAME, POINTS, SOURCE
from solutions.tests.helpers.browsing import chromium

# The contrast of a page's texts with what is behind them, by the WCAG -> [[ratio, text]] of those that are too low:
# below 4.5, or 3 for large ones. What is a part of a picture is left out, and what can't be seen.
LOW_CONTRAST = """() => {
    const channels = color => color.match(/[\\d.]+/g).map(Number);
    const linear = c => c <= 10.31 ? c / 3294.6 : ((c / 255 + .055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
    const behind = element => {
        if (!element) return [255, 255, 255];
        const color = channels(getComputedStyle(element).backgroundColor);
        return color.length > 3 && color[3] < 1 ? over(color, behind(element.parentElement)) : color.slice(0, 3);
    };
    const low = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        if (!text || element.closest('script, style, noscript') || !element.checkVisibility({visibilityProperty: true,
            opacityProperty: true}) || !element.getClientRects().length) continue;
        const style = getComputedStyle(element), ground = behind(element);
        const [a, b] = [luminance(over(channels(style.color), ground)), luminance(ground)].sort((x, y) => y - x);
        const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
        const ratio = (a + .05) / (b + .05);
        if (ratio < (large ? 3 : 4.5)) low.push([Math.round(ratio * 100) / 100, text.slice(0, 60)]);
    }
    return low;
}"""


@pytest.fixture(scope="module")
def site(request, tmp_path_factory) -> Path:
    if given := request.config.getoption("--book"):
        return Path(given).resolve()
    source = SOURCE.replace("    text =", "    figures.curves({'a': [1, 2]}, 'A line', 'y')\n    text =")
    lesson = build(NAME, source, POINTS)
    place = tmp_path_factory.mktemp("book")
    plt.figure().savefig(place / "empty.png")
    picture = base64.b64encode((place / "empty.png").read_bytes()).decode()
    (demo,) = [cell for cell in lesson.solved.cells if "figures.curves" in cell.source]
    demo.outputs = [nbformat.v4.new_output("display_data", data={"image/png": picture, "text/plain": "<Figure>"})]
    book.build({NAME: book.page(NAME, lesson.solved, lesson.released)}, place)
    return place / "html"


@pytest.fixture(scope="module")
def lessons_page(site) -> Path:
    return min(site.glob("0*.html"))


@pytest.fixture
def tab():
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        tab.set_default_timeout(60_000)
        yield tab


def open_in(tab: Page, path: Path, theme: str) -> None:
    tab.goto(path.as_uri())
    tab.evaluate("theme => { localStorage.setItem('mode', theme); localStorage.setItem('theme', theme) }", theme)
    tab.reload()
    assert tab.evaluate("() => document.documentElement.dataset.theme") == theme


def test_no_page_asks_for_the_network_or_fails(tab, site):
    asked, failed = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: failed.append(str(error)))
    pages = sorted(site.glob("*.html"))
    for path in pages:
        tab.goto(path.as_uri())
    assert len(pages) >= 3 and [url for url in asked if not url.startswith(("file:", "data:"))] == [] == failed


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read(tab, site, theme):
    low = {}
    for path in [site / "index.html", *sorted(site.glob("0*.html"))]:
        open_in(tab, path, theme)
        tab.evaluate("() => document.querySelectorAll('details').forEach(folded => { folded.open = true })")
        low[path.name] = tab.evaluate(LOW_CONTRAST)
    assert {name: texts for name, texts in low.items() if texts} == {}


def test_a_solution_is_folded_and_opens_by_keyboard(tab, lessons_page):
    tab.goto(lessons_page.as_uri())
    folded = tab.locator("details").filter(has_text="Show a solution").first
    solution = folded.locator("pre")
    assert not solution.is_visible()
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("() => document.activeElement.textContent").strip().startswith("Show a solution"):
            break
    focus = "() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.boxShadow] }"
    assert tab.evaluate(focus) != ["none", "none"]
    tab.keyboard.press("Enter")
    solution.wait_for(state="visible")


def test_a_word_is_found(tab, site, lessons_page):
    tab.goto(lessons_page.as_uri())
    word = tab.locator("h1").first.text_content().rstrip("#").split()[-1]
    tab.goto((site / "search.html").as_uri() + f"?q={word}")
    tab.locator(f"ul.search li a[href*='{lessons_page.name}']").first.wait_for()


def test_every_picture_has_a_text_and_is_loaded(tab, lessons_page):
    tab.goto(lessons_page.as_uri())
    pictures = tab.evaluate("() => [...document.images].map(i => [i.alt, i.complete && i.naturalWidth > 0])")
    assert pictures and all(alt and loaded for alt, loaded in pictures)


def test_there_is_a_pdf(site):
    content = (site / "book.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/Outlines" in content and content.count(b"/Type /Page\n") >= 2
