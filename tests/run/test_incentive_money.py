"""What the pages of incentives say of money: the same numbers everywhere, and no odd ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from run.incentive_sample import changed, doses, limit, markets, redeemed, row
from run.pages import pages, section
from run.sample_rows import Case
from run.viewing import en, source

from retention_lab.results import Results
from retention_lab.run.view.incentive_ledger import table
from retention_lab.run.view.incentive_words import kept_dose


def lines(case: Case, tmp_path: Path, arm: str = "coupon") -> dict[str, str]:
    found = source(case, tmp_path)
    return {line[0].text: line[1].text for line in table(found, en(found), arm).lines}


def test_a_chance_in_the_ledger_is_never_none_nor_certain(tmp_path: Path) -> None:
    name = "Chance that a dollar brings what is wanted"
    for i, (value, text) in enumerate(((1.5e-113, "<0.1%"), (1.0, ">99.9%"), (0.97, "97.0%"))):
        case = changed(redeemed(), "probability_above_min_roi", estimate=value)
        assert lines(case, tmp_path / str(i))[name] == text


def test_the_ledger_says_who_of_the_control_redeemed(tmp_path: Path) -> None:
    assert lines(redeemed(), tmp_path)["Redeemed in the control"] == "2.00%"


def test_what_costs_nothing_to_give_has_no_line_for_it(tmp_path: Path) -> None:
    case = redeemed()
    assert {"Cost of giving it", "Cost of giving it at which the profit is gone"} <= set(
        lines(case, tmp_path / "a")
    )
    free = dataclasses.replace(case, spec=case.spec.replace("{contact: 0.05, ", "{"))
    assert not any("giving" in name for name in lines(free, tmp_path / "b"))
    assert "giving it may cost" not in pages(free, tmp_path / "c", "en")["en"].text


def test_the_dose_that_is_kept_is_told_by_its_profit_and_drawn_so(tmp_path: Path) -> None:
    found = source(doses(), tmp_path)
    kept = kept_dose(found)
    assert kept is not None
    assert (kept[0].arm, kept[0].estimate, kept[1]) == ("five", 3.4, 0.72)
    page = pages(doses(), tmp_path / "page", "en")["en"].text
    first = page.partition("Why this verdict")[0]
    assert "Profit a customer" in first
    assert "3.40 (3.20 to 3.60)" in first
    assert "Margin per dollar of incentive" not in first
    assert page.index("How much is best?") < page.index("What it brought and what it cost")


def test_a_dearer_dollar_that_leaves_less_in_all_is_told(tmp_path: Path) -> None:
    case = doses()
    told = "A dollar spent on “$10 coupon” brings the most (9.00)"
    assert told not in pages(case, tmp_path / "a", "en")["en"].text
    rows = [
        dataclasses.replace(r, estimate=9.0, ci_low=8.0, ci_high=10.0)
        if r.estimand == "margin_per_dollar" and r.arm == "ten"
        else r
        for r in case.results.rows
    ]
    page = pages(dataclasses.replace(case, results=Results.of(rows)), tmp_path / "b", "en")["en"]
    assert f"{told}, but fewer are spent: in all it leaves less profit than “$5 coupon”." in (
        section(page, "How much is best?", "What it brought and what it cost")
    )


def test_the_effect_is_told_where_the_verdict_is_on_money(tmp_path: Path) -> None:
    page = pages(redeemed(), tmp_path, "en")["en"]
    why = section(page, "Why this verdict", "What it brought and what it cost")
    assert "On those who redeem “Coupon” because of the offer: Repurchase within 30 days" in why
    assert "Orders, “Coupon”: 90% of the gain of week 3 was given back" in why
    every = section(page, "What changed", "Did it only come earlier?")
    assert "Difference, over everyone offered" in every


def test_a_change_has_a_direction_only_beyond_chance(tmp_path: Path) -> None:
    case = markets()
    said = pages(case, tmp_path / "a")
    assert "rose by 2.1 points (95% interval +0.9 to +3.3 points) through" in said["en"].text
    assert "使 30 天复购率提高 2.1 个百分点" in said["zh"].text
    (reason,) = case.verdict.reasons
    for name, low, high, word in (
        ("b", -0.033, -0.009, "fell by 2.1"),
        ("c", -0.03, 0.07, "changed by +2"),
    ):
        numbers = {**reason.numbers, "ci_low": low, "ci_high": high}
        numbers["estimate"] = -0.021 if high < 0 else 0.021
        verdict = dataclasses.replace(
            case.verdict, reasons=(dataclasses.replace(reason, numbers=numbers),)
        )
        page = pages(dataclasses.replace(case, verdict=verdict), tmp_path / name, "en")["en"]
        assert word in page.text


def test_about_a_limit_the_ledger_says_why_it_differs(tmp_path: Path) -> None:
    case = limit()
    spec = case.spec.replace("covariates: [tenure]}", "covariates: [tenure], revenue: orders_30d, "
                             "margin: 0.4, cost: {contact: 5}}")  # fmt: skip
    place = {"metric": "orders_30d", "n": 4200, "n_baseline": 3900}
    ledger = [
        row("incremental_revenue", 2.28, 1.0, **place),
        row("incremental_returns", -0.36, 0.4, **place),
        row("incremental_margin", 1.05, 0.4, **place),
        row("cost_contact", 5.0, **place),
        row("incremental_cost", 5.0, **place),
        row("incremental_profit", -3.95, 0.4, **place),
    ]
    results = Results.of([*case.results.rows, *ledger])
    found = pages(dataclasses.replace(case, spec=spec, results=results), tmp_path, "en")["en"]
    told = section(found, "What it brought and what it cost", "What changed")
    assert "All lines of the ledger are taken within one distance of the limit" in told
    assert "5.00" in told
