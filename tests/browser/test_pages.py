"""Reports, start page and comparison in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run.sample import CASES, write

from retention_lab.run.compare import compare
from retention_lab.run.index import write_index
from retention_lab.run.report import comparison_html, write_reports

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 400, "height": 800}
HAN = "/[\\u4e00-\\u9fff]/"
DRAWN = "[...document.querySelectorAll('figure svg text')].map(t => t.textContent)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page there is, by name."""
    reports = tmp_path_factory.mktemp("site") / "reports"
    found: dict[str, Path] = {}
    for make in CASES:
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


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, site: dict[str, Path]) -> Open:
    """with opened(name, viewport) as page: what went wrong in it is in ``page.faults``."""

    @contextmanager
    def _open(name: str, viewport: dict[str, int]) -> Iterator[Any]:
        page = browser.new_page(viewport=viewport)
        faults: list[str] = []
        start = site[name].as_uri()

        def refuse(dialog: Any) -> None:
            faults.append(f"dialog {dialog.message}")
            dialog.dismiss()

        page.on("dialog", refuse)
        page.on("pageerror", lambda e: faults.append(f"error {e}"))
        page.on("console", lambda m: faults.append(f"console {m.text}"))
        page.on(
            "request",
            lambda r: None if r.url == start or r.url.startswith("data:") else faults.append(r.url),
        )
        page.goto(start)
        page.faults = faults
        yield page
        page.close()

    return _open


def names(site: dict[str, Path]) -> list[str]:
    return sorted(site)


def test_no_page_runs_a_script_or_asks_for_anything(opened: Open, site: dict[str, Path]) -> None:
    for name in names(site):
        with opened(name, DESKTOP) as page:
            assert page.faults == [], name
            assert page.locator("script, iframe, img, object, embed").count() == 0, name


def test_a_script_in_a_title_is_text(opened: Open) -> None:
    title = "Thirty days to return instead of fourteen <script>alert(1)</script>"
    for name in ("mismatch.en", "mismatch.zh"):
        with opened(name, DESKTOP) as page:
            assert page.locator("h1").inner_text() == title
            assert page.title().startswith(title)
            drawn = page.evaluate(DRAWN)
            assert any("<script>alert(2)</script>" in t for t in drawn)
    with opened("index.en", DESKTOP) as page:
        assert title in page.locator("table").inner_text()
    with opened("comparison.en", DESKTOP) as page:
        assert "<script>alert(5)</script>" in page.locator("body").inner_text()


def test_the_first_screen_answers(opened: Open, site: dict[str, Path]) -> None:
    for name in names(site):
        if name.startswith(("index", "comparison")):
            continue
        with opened(name, DESKTOP) as page:
            for part in ("#result .badge", "#effect svg", "[aria-labelledby=sure]", ".facts"):
                box = page.locator(part).first.bounding_box()
                assert box is not None, (name, part)
                assert box["width"] > 30, (name, part)
                assert box["x"] >= 0, (name, part)
                assert box["x"] + box["width"] <= DESKTOP["width"], (name, part)
                assert box["y"] + box["height"] <= DESKTOP["height"], (name, part, box)


def test_nothing_scrolls_sideways_on_a_phone(opened: Open, site: dict[str, Path]) -> None:
    for name in names(site):
        with opened(name, DESKTOP) as page:
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            for width in (PHONE["width"], 800, DESKTOP["width"]):
                page.set_viewport_size({"width": width, "height": 800})
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (name, width)


def test_chinese_pages_are_chinese(opened: Open, site: dict[str, Path]) -> None:
    for name in names(site):
        with opened(name, DESKTOP) as page:
            han = page.evaluate(f"(document.body.innerText.match({HAN}g) || []).length")
            drawn = "".join(page.evaluate(DRAWN))
            if name.endswith(".zh"):
                assert han > 100 or name == "index.zh", name
                assert any("\u4e00" <= c <= "\u9fff" for c in drawn) or name == "index.zh", name
                assert page.locator("html").get_attribute("lang") == "zh-CN"
            elif name != "comparison.en":  # it shows the files' values, which may be Chinese
                assert han < 20, name


def test_text_of_figures_does_not_overlap(opened: Open) -> None:
    """Labels and values keep apart in the font of this browser, long ones too."""
    overlaps = """[...document.querySelectorAll('figure svg')].flatMap(svg => {
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
    for make in CASES:
        for language in ("en", "zh"):
            with opened(f"{make.__name__}.{language}", DESKTOP) as page:
                assert page.evaluate(overlaps) == [], (make.__name__, language)


def test_the_languages_lead_to_each_other_and_back(opened: Open) -> None:
    with opened("email.en", DESKTOP) as page:
        page.locator("a.language").click()
        assert page.url.endswith("report.zh.html")
        page.locator("nav a").first.click()
        assert page.url.endswith("index.zh.html")
        page.locator("a.title").first.click()
        assert page.url.endswith("report.zh.html")


def test_the_page_prints_the_folded_tables(opened: Open) -> None:
    with opened("email.en", DESKTOP) as page:
        page.emulate_media(media="print")
        assert page.locator("details table").first.is_visible()
        assert not page.locator(".bar").is_visible()
