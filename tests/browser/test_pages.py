"""Reports, start page and comparison in a real browser. Every page is visited once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser.visiting import HEIGHT, WIDTH, Visit, han, look
from run.cohort_sample import cohorts, rivals
from run.every_row import rich
from run.incentive_sample import doses
from run.sample import CASES, email, write
from run.sample_rows import Case

from retention_lab.run.compare import compare
from retention_lab.run.index import write_index
from retention_lab.run.report import comparison_html, write_reports

pytestmark = pytest.mark.browser


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
    return {name: look(browser, path) for name, path in site.items()}


def reports(visits: dict[str, Visit]) -> dict[str, Visit]:
    other = ("index", "comparison")
    return {name: visit for name, visit in visits.items() if not name.startswith(other)}


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


@pytest.mark.parametrize("make", [email, cohorts, doses])
def test_the_languages_lead_to_each_other_and_back(
    browser: Any, tmp_path: Path, make: Callable[[], Case]
) -> None:
    """Of each kind of report."""
    first = write_reports(write(make(), tmp_path))[0]
    write_index(tmp_path)
    page = browser.new_page()
    page.goto(first.as_uri())
    page.locator("a.language").click()
    assert page.url.endswith("report.zh.html")
    page.locator("nav a").first.click()
    assert page.url.endswith("index.zh.html")
    page.locator("a.title").first.click()
    assert page.url.endswith("report.zh.html")
    page.close()
