"""Reports, start page and comparison in a real browser. Every page is visited once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from run.cohort_sample import cohorts, rivals
from run.every_row import rich
from run.sample import CASES, write

from retention_lab.run.compare import compare
from retention_lab.run.index import write_index
from retention_lab.run.report import comparison_html, write_reports

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 1280, 800
FIRST_SCREEN = ("#result .badge", "#result .headline", "#effect svg", ".answers", ".facts")
ACTIVE = "script, iframe, img, object, embed"
TEXTS = "[...document.querySelectorAll('figure svg text')].map(t => t.textContent)"
OVERLAPS = """[...document.querySelectorAll('figure svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')];
  const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]);
  const out = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (x > 1 && y > 6) out.push(a + ' | ' + b);
  }));
  return out;
})"""


@dataclasses.dataclass
class Visit:
    """What a browser found on one page."""

    faults: list[str]
    title: str
    lang: str | None
    text: str
    drawn: list[str]
    active: int
    boxes: dict[str, dict[str, float] | None]
    widths: dict[int, int]
    overlaps: list[str]
    printed: bool


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page there is, by name."""
    reports = tmp_path_factory.mktemp("site") / "reports"
    found: dict[str, Path] = {}
    for make in (*CASES, rich, cohorts, rivals):
        folder = write(make(), reports)
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "run_id": "<script>alert(5)</script>"}))
        for path in write_reports(folder):
            found[f"{make.__name__}.{path.name.split('.')[1]}"] = path
    found["index.en"] = write_index(reports)
    found["index.zh"] = reports / "index.zh.html"
    a, b = found["mismatch.en"].parent, found["harm.en"].parent
    found["comparison.en"] = reports / "comparison.html"
    found["comparison.en"].write_text(comparison_html(compare(a, b)), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def visits(browser: Any, site: dict[str, Path]) -> dict[str, Visit]:
    """Every page as the browser found it."""
    return {name: _visit(browser, path) for name, path in site.items()}


def _visit(browser: Any, path: Path) -> Visit:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    faults: list[str] = []

    def refuse(dialog: Any) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def asked(request: Any) -> None:
        if request.url != path.as_uri() and not request.url.startswith("data:"):
            faults.append(f"request {request.url}")

    page.on("dialog", refuse)
    page.on("pageerror", lambda error: faults.append(f"error {error}"))
    page.on("console", lambda message: faults.append(f"console {message.text}"))
    page.on("request", asked)
    page.goto(path.as_uri())
    boxes = {part: _box(page, part) for part in FIRST_SCREEN}
    overlaps = page.evaluate(OVERLAPS)
    text = page.locator("body").inner_text()
    page.emulate_media(media="print")
    folded = page.locator("details table")
    printed = folded.count() == 0 or folded.first.is_visible()
    page.emulate_media(media="screen")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    widths = {}
    for width in (400, 800, WIDTH):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        widths[width] = page.evaluate("document.documentElement.scrollWidth")
    visit = Visit(
        faults,
        page.title(),
        page.locator("html").get_attribute("lang"),
        text,
        page.evaluate(TEXTS),
        page.locator(ACTIVE).count(),
        boxes,
        widths,
        overlaps,
        printed,
    )
    page.close()
    return visit


def _box(page: Any, part: str) -> dict[str, float] | None:
    found = page.locator(part)
    box: dict[str, float] | None = found.first.bounding_box() if found.count() else None
    return box


def reports(visits: dict[str, Visit]) -> dict[str, Visit]:
    other = ("index", "comparison")
    return {name: visit for name, visit in visits.items() if not name.startswith(other)}


def han(text: str) -> int:
    """Number of Chinese characters."""
    return sum("\u4e00" <= c <= "\u9fff" for c in text)


def test_no_page_asks_for_anything_or_runs_a_foreign_script(visits: dict[str, Visit]) -> None:
    assert {name: v.faults for name, v in visits.items() if v.faults} == {}
    # The start page has one script: the search of its learning log, allowed by its hash.
    active = {name: v.active for name, v in visits.items() if v.active}
    assert active == {"index.en": 1, "index.zh": 1}


def test_a_script_in_a_title_is_text_in_every_page(visits: dict[str, Visit]) -> None:
    title = "Thirty days to return instead of fourteen <script>alert(1)</script>"
    for name in ("mismatch.en", "mismatch.zh"):
        assert title in visits[name].text
        assert visits[name].title.startswith(title)
        assert any("<script>alert(2)</script>" in t for t in visits[name].drawn)
        assert any("<img src=x onerror=alert(3)>" in t for t in visits[name].drawn)
    assert title in visits["index.en"].text
    assert title in visits["index.zh"].text
    assert "<script>alert(5)</script>" in visits["comparison.en"].text


def test_the_first_screen_answers(visits: dict[str, Visit]) -> None:
    for name, visit in reports(visits).items():
        for part, box in visit.boxes.items():
            assert box is not None, (name, part)
            assert box["width"] > 30, (name, part)
            assert box["x"] >= 0, (name, part)
            assert box["x"] + box["width"] <= WIDTH, (name, part)
            assert box["y"] + box["height"] <= HEIGHT, (name, part, box)


def test_nothing_scrolls_sideways(visits: dict[str, Visit]) -> None:
    for name, visit in visits.items():
        assert all(wide <= width for width, wide in visit.widths.items()), (name, visit.widths)


def test_chinese_pages_are_chinese(visits: dict[str, Visit]) -> None:
    for name, visit in visits.items():
        if name.endswith(".zh"):
            assert visit.lang == "zh-CN", name
            assert han(visit.text) > 50, name
    for name, visit in reports(visits).items():
        if name.endswith(".zh"):
            assert han("".join(visit.drawn)) > 20, name
        else:
            assert han(visit.text.replace("中文", "")) == 0, name


def test_texts_of_a_figure_keep_apart(visits: dict[str, Visit]) -> None:
    """In the font of this browser, long labels too."""
    assert {name: v.overlaps for name, v in visits.items() if v.overlaps} == {}


def test_folded_tables_are_printed(visits: dict[str, Visit]) -> None:
    assert [name for name, visit in visits.items() if not visit.printed] == []


def test_the_languages_lead_to_each_other_and_back(browser: Any, site: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(site["email.en"].as_uri())
    page.locator("a.language").click()
    assert page.url.endswith("report.zh.html")
    page.locator("nav a").first.click()
    assert page.url.endswith("index.zh.html")
    page.locator("a.title").first.click()
    assert page.url.endswith("report.zh.html")
    page.close()
