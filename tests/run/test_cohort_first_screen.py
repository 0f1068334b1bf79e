"""The first screen of a cohort study's report: what was seen, how sure, and on what."""

from __future__ import annotations

import re

from run.cohort_sample import bare, cohorts
from run.pages import PageOf, tongue

from retention_lab.experiment.load import parse, validate
from retention_lab.results import Reason, Verdict
from retention_lab.run.view.findings import headline
from retention_lab.texts import reason_text
from retention_lab.texts.lives import deed

HAN = re.compile(r"[\u4e00-\u9fff]")


def test_the_first_screen_says_what_was_seen_how_sure_and_on_what(page_of: PageOf) -> None:
    en, zh = page_of(cohorts)["en"].text, page_of(cohorts)["zh"].text
    assert "What did we see? Findings Of 100 customers, 47 came back within 90 days." in en
    more = "Customers in “Autumn sale” spent 14.8 more of the first 90 days without coming back"
    assert f"{more} than those in “All others”, on average (95% interval 13.2 to 16.4)." in en
    assert "most likely between 45.4 and 47.6 of 100 (95% interval)" in en
    assert "luck alone would show a gap this large in less than 1 in 1,000 cases (p < 0.001)" in en
    assert "This is an observation, not an experiment" in en
    assert "Customers 9,000 Cohorts 13, from Jan 2025 to Jan 2026" in en
    assert "Start each customer's first “Orders” What counts “Orders” after the start" in en
    assert "data up to the end of 15 January 2026" in en
    assert "发现 每 100 位客户中，有 47 位在 90 天内复购。" in zh
    assert "“秋季大促”尚未复购的天数平均比“其他客户”多 14.8 天" in zh
    assert "同期群 13 个，2025 年 1 月至 2026 年 1 月" in zh


def test_a_title_says_findings_and_no_page_speaks_of_arms_or_a_split(page_of: PageOf) -> None:
    for page in page_of(cohorts).values():
        assert "None" not in page.text
        assert "{" not in page.text
    en = page_of(cohorts)["en"].text
    for word in ("Keep running", "sample ratio", "Sample ratio", "the arms", "Verdict"):
        assert word not in en
    assert len(HAN.findall(en.replace("中文", ""))) == 0
    assert len(HAN.findall(page_of(cohorts)["zh"].text)) > 800


def test_a_rare_event_is_told_of_a_thousand() -> None:
    numbers = {"event": "orders", "n": 900, "day": 30, "share": 0.0421}
    found = Verdict("keep_running", None, (Reason("cohorts_described", numbers),))
    spec = tongue(cohorts()).spec
    assert headline(found, spec, "en") == "Of 1,000 customers, 42 came back within 30 days."
    assert headline(found, spec, "zh") == "每 1,000 位客户中，有 42 位在 30 天内复购。"


def test_an_event_that_is_no_return_is_named() -> None:
    spec = cohorts().spec.replace("event: next orders", "event: next refunds")
    found = validate(*parse(spec))
    assert deed(found, "en") == "had “Refunds”"
    assert headline(cohorts().verdict, found, "en") == (
        "Of 100 customers, 47 had “Refunds” within 90 days."
    )
    assert "发生“退款”" in headline(cohorts().verdict, found, "zh")


def test_a_study_without_any_event_says_so_and_nothing_else(page_of: PageOf) -> None:
    en, zh = page_of(bare)["en"].text, page_of(bare)["zh"].text
    assert "Invalid Nobody came back in the time observed." in en
    assert "Not at all: there is nothing to measure yet." in en
    assert "Not one of 41 customers came back in the time observed." in en
    assert "在观察期内没有客户复购。" in zh
    for gone in ("How do groups differ?", "How many stay active?", "What came first?"):
        assert gone not in en


def test_reasons_without_numbers_are_sentences() -> None:
    spec = tongue(cohorts()).spec
    for language, stop in (("en", "."), ("zh", "。")):
        for code, numbers in (
            ("no_events", {"event": "orders"}),
            ("no_customers", {"least": 20}),
            ("immature", {}),
            ("immature", {"immature": 12}),
            ("most_leave_early", {"day": 30, "share": 0.5}),
        ):
            said = reason_text(Reason(code, numbers), spec, language)
            assert said.endswith(stop)
            assert "None" not in said
            assert "–" not in said


def test_reasons_of_groups_are_in_shares_that_came() -> None:
    spec = tongue(cohorts()).spec
    n = {"segment": "market", "level": "Spain", "baseline": "Germany", "day": 90, "p": 0.002}
    shares = {**n, "difference": -0.12, "ci_low": -0.15, "ci_high": -0.09}
    said = reason_text(Reason("groups_differ", shares), spec, "en").replace("\u00a0", " ")
    assert said == (
        "Market: “Spain” and “Germany” differ beyond chance: −12.0 points within 90 days "
        "(95% interval −15.0 to −9.0 points; p = 0.002)."
    )
    days = {**n, "difference": 4.2, "ci_low": 1.2, "ci_high": 7.2}
    assert "+4.2 days" in reason_text(Reason("groups_alike", days), spec, "en")
