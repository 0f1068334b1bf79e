"""The report of a cohort study: outcomes that compete, and words that must not say too much."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from run.cohort_rows import row
from run.cohort_sample import bare, cohorts, lively, rivals
from run.pages import PageOf, pages, section, tongue
from run.sample import write

from retention_lab.experiment.load import parse, validate
from retention_lab.results import Reason, Results, Row, Verdict
from retention_lab.run.report import write_reports
from retention_lab.run.view.findings import headline, short
from retention_lab.run.view.groups import difference_text, is_clear, preferred
from retention_lab.texts import reason_text

# Competing events


def test_with_competing_events_groups_differ_in_what_came_first(page_of: PageOf) -> None:
    en, zh = page_of(rivals)["en"].text, page_of(rivals)["zh"].text
    result = en[en.index("What did we see?") : en.index("How sure are we?")]
    said = (
        r"By day 90, ([\d.]+)% of customers in “Autumn sale” and ([\d.]+)% of those in “All others”"
    )
    found = re.search(said + r" came back before any “Refunds”: −([\d.]+) points", result)
    assert found is not None
    own, base, gap = map(float, found.groups())
    assert base - own == pytest.approx(gap, abs=0.11)
    rows = rivals().results.where(estimand="cumulative_incidence", term="orders").rows
    by_90 = [r for r in rows if r.level == "rest" and int(r.at or 0) <= 90][-1]
    assert base == pytest.approx(100 * (by_90.estimate or 0.0), abs=0.06)
    assert " spent " not in result
    groups = section(page_of(rivals)["en"], "How do groups differ?", "When is a customer")
    assert "Market: the groups differ beyond chance (Gray's test of what came first, p" in groups
    assert groups.count("the reference is “All others”; competing events censored (log-rank") == 1
    assert groups.count("competing events censored (log-rank test, p") == 2
    assert "more of the first 90 days" not in groups
    assert "“Orders” after the start, where it comes before “Refunds”" in en
    assert "先于“退款”复购" in zh
    assert "竞争事件按删失处理" in zh
    assert "before any" not in page_of(cohorts)["en"].text
    # The first number is that of those who came back first, and is not told as any other.
    assert re.search(r"Of 100 customers, \d+ came back before any “Refunds” within", en)
    assert re.search(r"先于“退款”复购", zh[: zh.index("有多大把握")])
    assert "censored" not in section(page_of(cohorts)["en"], "How do groups differ?", "When is a")


def test_the_first_figure_shows_what_came_first_where_events_compete(tmp_path: Path) -> None:
    folder = write(rivals(), tmp_path)
    write_reports(folder)
    for name in ("lives", "lives-2"):
        svg = (folder / "figures" / f"{name}.en.svg").read_text(encoding="utf-8")
        assert "before any “Refunds”" in " ".join(re.findall(r">([^<]+)</text>", svg))
        assert "Nothing to show" not in svg


def test_arms_are_compared_by_what_came_first_where_events_compete(tmp_path: Path) -> None:
    case = lively()
    spec = case.spec.replace("horizon: 120d}", "horizon: 120d, competing: [refunds]}")
    spec = spec.replace(
        "    orders: {table", "    refunds: {table: refunds, at: at}\n    orders: {table", 1
    )
    rows = list(case.results.rows)
    for arm, value in (("none", 0.40), ("c10", 0.45)):
        for cause, part in (("orders", 1.0), ("refunds", 0.1)):
            more = {"at": "120", "term": cause, "n": 900}
            rows.append(row("cumulative_incidence", value * part, arm=arm, **more))
    apart = {"arm": "c10", "baseline": "none", "ci_low": 0.03, "ci_high": 0.07}
    rows.append(row("incidence_difference", 0.05, at="120", term="orders", **apart))
    rows.append(row("gray", 9.0, term="orders", p_value=0.011))
    rows.append(row("gray", 0.1, term="refunds", p_value=0.8))
    text = section(
        pages(dataclasses.replace(case, spec=spec, results=Results.of(rows)), tmp_path, "en")["en"],
        "When do they come back?",
        "By segment",
    )
    assert (
        "By day 120, 45.0% of customers in “$10 coupon” and 40.0% of those in “No coupon” came "
        "back before any “refunds”: +5.0 points" in text
    )
    assert "over the whole time (Gray's test of what came first, p = 0.011)" in text
    assert "fewer of the first" not in text
    assert "competing events censored (log-rank test, p < 0.001)" in text


# Words that the rows must carry


def bins(*chances: float, n: int = 1000) -> list[Row]:
    """Hazards by week, each with a narrow interval."""
    return [
        row("hazard", h, at=f"{7 * i + 1}-{7 * i + 7}", n=n, ci_low=0.9 * h, ci_high=1.1 * h)
        for i, h in enumerate(chances)
    ]


def hazard_text(rows: list[Row], root: Path) -> str:
    case = dataclasses.replace(cohorts(), results=Results.of(rows))
    return section(pages(case, root, "en")["en"], "hard to win back?", "How it was calculated")


def test_the_chance_after_day_30_is_that_of_all_later_bins(tmp_path: Path) -> None:
    rows = [*bins(0.05, 0.01, 0.01, 0.01, 0.01), *bins(*[0.0] * 5, 0.008, 0.002)[5:]]
    rows[-1] = dataclasses.replace(rows[-1], n=3000)
    text = hazard_text(rows, tmp_path)
    assert "The chance is highest on days 1–7: 5.00% of those still waiting" in text
    assert "After day 35 it is 0.35% a day on average." in text  # (8 + 3 x 2) / 4, not 0.8


def test_a_peak_is_named_only_where_it_is_clear_of_all_others(tmp_path: Path) -> None:
    falls = bins(0.011, 0.01, 0.01, 0.01, 0.01, 0.002, 0.002)
    text = hazard_text(falls, tmp_path / "falls")
    assert "highest" not in text
    assert "The chance falls: 1.02% a day of those still waiting came back up to day 35, " in text
    assert "0.20% a day later on" in text
    flat = hazard_text(bins(*[0.0101, *[0.01] * 8]), tmp_path / "flat")
    assert "The chance does not change clearly over time" in flat
    rises = hazard_text(bins(*[0.002] * 5, 0.01, 0.01), tmp_path / "rises")
    assert "The chance rises" in rises


def test_the_concordance_is_told_of_100_pairs(page_of: PageOf) -> None:
    said = "the model picks that one in 57 of 100 cases, ties counted half; 50 would be guessing."
    assert said in page_of(cohorts)["en"].text
    assert "每 100 次有 57 次指认正确" in page_of(cohorts)["zh"].text


def test_a_first_order_may_be_the_first_in_the_records_only(tmp_path: Path) -> None:
    spec = bare().spec.replace("  horizon: 365d", "  horizon: 365d\n  existing: 2025-02-01")
    found = pages(dataclasses.replace(bare(), spec=spec), tmp_path)
    known = "first “Orders”; for customers seen before 1 February 2025, the first in the records"
    assert known in found["en"].text
    assert "2025 年 2 月 1 日之前已有记录的客户，以记录中的第一次为准" in found["zh"].text


def test_customers_in_several_groups_are_not_left_out(tmp_path: Path) -> None:
    rows = [
        row("customers", 50, n=50),
        row("left_out", 8, n=8, term="several_levels/market"),
        row("left_out", 40, n=40, term="several_levels/number_of_cds"),
    ]
    en = pages(dataclasses.replace(bare(), results=Results.of(rows)), tmp_path, "en")["en"].text
    data, _, out = section_of(en, "Who is in the data").partition("What was left out")
    assert "Market: 8 customers are seen in several groups" in data
    assert "several groups" not in out
    assert "40" not in data + out


def section_of(text: str, start: str) -> str:
    return text.rpartition(start)[2].partition("How it was calculated")[0]


def test_revenue_is_before_refunds_and_a_cut_month_is_marked(tmp_path: Path) -> None:
    rows = [row("returning_revenue_share", 0.2, at=f"2025-{m}") for m in (11, 12)]
    rows.append(row("returning_revenue_share", 0.4, at="2026-01"))
    case = dataclasses.replace(cohorts(), results=Results.of(rows))
    found = pages(case, tmp_path / "cut")
    assert "In Jan 2026 (to 15 Jan), 40.0% of the revenue, before refunds, came" in found["en"].text
    assert "The last month is not complete: Jan 2026 (to 15 Jan)." in found["en"].text
    assert "2026 年 1 月（截至 1 月 15 日）" in found["zh"].text
    whole = dataclasses.replace(
        case, spec=case.spec.replace("as_of: 2026-01-15", "as_of: 2026-01-31")
    )
    en = pages(whole, tmp_path / "whole", "en")["en"].text
    assert "In Jan 2026, 40.0%" in en
    assert "not complete" not in en


def test_alpha_and_the_day_told_first_are_the_files() -> None:
    place = {"segment": "market", "level": "Spain", "baseline": "Germany"}
    r = row("rmst_difference", -1.0, at="30", ci_low=-2.0, ci_high=-0.1, p_adjusted=0.03, **place)
    spec = tongue(cohorts()).spec
    assert is_clear(r, spec)
    strict = spec.model_copy(
        update={"inference": spec.inference.model_copy(update={"alpha": 0.01})}
    )
    assert not is_clear(r, strict)
    days = [dataclasses.replace(r, at=at) for at in ("30", "90", "180")]
    assert preferred(days, spec) == "90"
    text = cohorts().spec.replace("  horizon: 365d", "  horizon: 365d\n  tau: 30d")
    assert preferred(days, validate(*parse(text))) == "30"


def test_where_there_is_no_interval_none_is_written() -> None:
    found = Reason("cohorts_described", {"event": "orders", "n": 90, "day": 30, "share": 0.4})
    spec = tongue(cohorts()).spec
    assert reason_text(found, spec, "en").endswith("within 30 days (no interval).")
    assert "（无区间）" in reason_text(found, spec, "zh")
    verdict = Verdict("keep_running", None, (found,))
    assert short(verdict, spec, "en").endswith("(no interval)")
    place = {"segment": "market", "level": "Spain", "baseline": "Germany", "at": "90"}
    assert "(no interval)" in difference_text(
        tongue(cohorts()), row("rmst_difference", 1.0, **place)
    )


def test_too_few_customers_are_told_with_the_limit() -> None:
    spec = tongue(cohorts()).spec
    few = Reason("no_customers", {"least": 33})
    said = reason_text(few, spec, "en")
    assert said == "Too few customers to say anything (fewer than 33)."
    least = spec.privacy.min_cell
    assert f"fewer than {least}" in headline(Verdict("invalid", None, (few,)), spec, "en")


def test_a_group_not_followed_from_the_origin_says_so_in_place_of_a_curve(tmp_path: Path) -> None:
    place: dict[str, Any] = {"segment": "market", "level": "Spain"}
    note = "not_seen_from_origin: customers were followed from day 40 on only"
    rows = [
        row("customers", 50, n=50),
        row("customers", 50, n=50, **place),
        row("survival", note=note, **place),
        row("survival_quantile", term="0.25", note=note),
    ]
    en = pages(dataclasses.replace(bare(), results=Results.of(rows)), tmp_path, "en")["en"].text
    assert "“Spain”: Customers were followed from day 40 on only." in en
    assert "Fewer than 25%" not in en
