"""Reports of incentives in a real browser. Every page is visited once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser.visiting import HEIGHT, WIDTH, Visit, han, look
from run.incentive_sample import CASES, LONG, hostile, with_ledger
from run.sample import email, write
from run.sample_rows import Case

from retention_lab.run.index import write_index
from retention_lab.run.report import write_reports

pytestmark = pytest.mark.browser

FIRST = ("#result .badge", "#result .headline", ".first", "#figure svg", ".answers", ".facts")
IN_TEST = ("#result .badge", "#result .headline", "#effect svg", ".answers", ".facts")
ORIGIN = "0% | 0%"  # the first labels of two axes, corner to corner
CODE = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
ENGLISH = re.compile(r"[A-Za-z]{3,}")
QUESTION = {
    "en": "Do customers come back more often with it than without it, and does that pay?",
    "zh": "与没有它的客户相比，得到它的客户回来得更多吗？带来的毛利抵得上成本吗？",
}
DATA = {"Web", "Phone", "hillstrom"}  # groups and the table of the samples


def asked(case: Case) -> Case:
    """`case` with a question that fills two lines, as those of shops do."""
    if "question:" in case.spec:
        return case
    both = "".join(f'  {code}: "{text} {text}"\n' for code, text in QUESTION.items())
    spec = case.spec.replace("owner:", f"question:\n{both}owner:", 1)
    return dataclasses.replace(case, spec=spec)


def mailed() -> Case:
    """An A/B test with a ledger beside it."""
    return with_ledger(email())


MAKERS: tuple[Callable[[], Case], ...] = (*CASES, hostile, mailed)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both reports of every sample, by name."""
    reports = tmp_path_factory.mktemp("incentives") / "reports"
    found = {}
    for make in MAKERS:
        for path in write_reports(write(asked(make()), reports)):
            found[f"{make.__name__}.{path.name.split('.')[1]}"] = path
    write_index(reports)
    return found


@pytest.fixture(scope="module")
def visits(browser: Any, site: dict[str, Path]) -> dict[str, Visit]:
    """Every page as the browser found it."""
    return {
        name: look(browser, path, IN_TEST if name.startswith("mailed") else FIRST)
        for name, path in site.items()
    }


def test_no_page_asks_for_anything_or_runs_anything(visits: dict[str, Visit]) -> None:
    assert {name: v.faults for name, v in visits.items() if v.faults} == {}
    assert [name for name, v in visits.items() if v.active] == []


def test_a_script_in_titles_and_labels_is_text(visits: dict[str, Visit]) -> None:
    page = visits["hostile.en"]
    assert "How much <script>alert(1)</script>" in page.text
    assert page.title.startswith("How much <script>alert(1)</script>")
    assert "<img src=x onerror=alert(3)>" in page.text
    assert any("</svg><script>alert(2)</script>" in text for text in page.drawn)
    assert LONG in page.text


def test_the_first_screen_answers(visits: dict[str, Visit]) -> None:
    for name, page in visits.items():
        for part, box in page.boxes.items():
            assert box is not None, (name, part)
            assert box["width"] > 30, (name, part)
            assert box["x"] >= 0, (name, part)
            assert box["x"] + box["width"] <= WIDTH, (name, part)
            if not name.startswith("hostile"):  # its label fills lines
                assert box["y"] + box["height"] <= HEIGHT, (name, part, box)


def test_nothing_scrolls_sideways_with_everything_open(visits: dict[str, Visit]) -> None:
    for name, page in visits.items():
        assert all(wide <= width for width, wide in page.widths.items()), (name, page.widths)
    cut = {name: page.cut for name, page in visits.items() if page.cut}
    assert {name for name in cut if not name.startswith("mailed")} == set()


def test_texts_of_a_figure_keep_apart(visits: dict[str, Visit]) -> None:
    found = {name: [o for o in v.overlaps if o != ORIGIN] for name, v in visits.items()}
    assert {name: overlaps for name, overlaps in found.items() if overlaps} == {}


def test_chinese_pages_are_chinese_and_english_ones_english(visits: dict[str, Visit]) -> None:
    for name, page in visits.items():
        if name.endswith(".zh"):
            assert page.lang == "zh-CN", name
            assert han("".join(page.drawn)) > 20, name
        else:
            assert han(page.text.replace("中文", "")) == 0, name


def test_no_english_is_left_in_the_chinese_page(visits: dict[str, Visit]) -> None:
    for make in CASES:
        words = set(ENGLISH.findall(visits[f"{make.__name__}.zh"].said))
        assert words - DATA == set(), make.__name__


def test_no_word_of_the_code_is_on_a_page(visits: dict[str, Visit]) -> None:
    for make in CASES:
        for language in ("en", "zh"):
            page = visits[f"{make.__name__}.{language}"]
            assert CODE.findall(page.said) == [], (make.__name__, language)
            assert "None" not in page.said
            assert "nan" not in page.said.split()


def test_what_is_folded_opens_and_is_printed(visits: dict[str, Visit]) -> None:
    assert [name for name, page in visits.items() if not page.printed] == []
    page = visits["redeemed.en"]
    for line in ("Redeemed in the control", "Chance that a dollar brings what is wanted"):
        assert line not in page.text
        assert line in page.said
    assert visits["redeemed.zh"].said.count("对照组的使用率") == 1


def test_sentence_figure_and_table_show_the_same_numbers(visits: dict[str, Visit]) -> None:
    page = visits["redeemed.en"]
    assert "Each dollar spent on “Coupon” brought 1.80 dollars of margin" in page.text
    assert "its own cost: +0.40 a customer (+0.16 to +0.64)" in page.text
    assert "That is 0.40 of profit" in page.text
    assert page.drawn.count("+0.40") == 1  # the waterfall's last step
    assert "\t+0.40\n+0.16 to +0.64" in page.said  # the ledger's line
    assert "1.80" in page.said.partition("Margin per dollar of incentive")[2][:12]
    best = visits["doses.en"]
    assert "leaves the most profit: 3.40 a customer (95% interval 3.20 to 3.60)" in best.text
    assert "3.40 (3.20 to 3.60)" in best.drawn
    assert "\t3.40\n3.20 to 3.60" in best.said
