"""What a cohort study says in words: who came back, which groups differ, and when."""

from __future__ import annotations

import datetime as dt

import pytest
from cohort_shop import FIRST, Shop, analysed, random_shop, study

import retention_lab as rl
from retention_lab.figures.hazard import MILESTONES, early
from retention_lab.results import Results, Row
from retention_lab.survival import curve_rows
from retention_lab.survival.findings import describe
from retention_lab.texts import reason_text

N = 200
COLUMNS = {"market": ["A", "A", "B", "B", "B"] * (N // 5)}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A plan with a horizon of 180 days."""
    orders = [[1 + i % 5] if i % 2 else [] for i in range(N)]
    shop = Shop([0] * N, orders, columns=COLUMNS)
    return study(tmp_path_factory.mktemp("shop"), shop, by=["market"], horizon="180d")


def survival(day, share, **more):
    ends = {"ci_low": share - 0.05, "ci_high": share + 0.05}
    return Row(
        analysis="survival", estimand="survival", at=str(day), estimate=share, **ends, **more
    )


def first(day, share, term="orders", **more):
    """A row of the share for whom `term` came first."""
    ends = {"ci_low": share - 0.05, "ci_high": share + 0.05}
    place = {"analysis": "survival", "estimand": "cumulative_incidence", "term": term}
    return Row(**place, at=str(day), estimate=share, **ends, **more)


def customers(n=N):
    return Row(analysis="survival", estimand="customers", estimate=n, n=n)


def gap(level, day, value, p, adjusted, segment="market", **more):
    return Row(
        **{"analysis": "survival", "estimand": "survival_difference", **more},
        segment=segment,
        level=level,
        baseline="B",
        at=str(day),
        estimate=value,
        ci_low=value - 0.1,
        ci_high=value + 0.1,
        p_value=p,
        p_adjusted=adjusted,
    )


def codes(verdict):
    return [r.code for r in verdict.reasons]


def test_too_few_customers_and_no_event_are_invalid(plan):
    hidden = Row(analysis="survival", estimand="customers", note="suppressed: fewer than 5")
    for rows, code in (
        ([], "no_customers"),
        ([hidden], "no_customers"),
        ([customers()], "no_events"),
        ([customers(), survival(30, 1.0), survival(60, 1.0)], "no_events"),
    ):
        verdict = describe(plan, Results.of(rows))
        assert (verdict.decision, verdict.arm, codes(verdict)) == ("invalid", None, [code])


def test_the_share_is_that_of_the_last_milestone_up_to_day_90(plan):
    days = {30: 0.7, 60: 0.6, 90: 0.5, 180: 0.3}
    whole = [customers(), *(survival(day, share) for day, share in days.items())]
    group = survival(90, 0.1, segment="market", level="A")
    verdict = describe(plan, Results.of([*whole, group]))
    assert verdict.decision == "keep_running"
    assert codes(verdict) == ["cohorts_described", "most_leave_early"]
    told, early = (r.numbers for r in verdict.reasons)
    assert (told["day"], told["share"], told["n"], told["event"]) == (90, 0.5, N, "orders")
    assert (told["ci_low"], told["ci_high"]) == (pytest.approx(0.45), pytest.approx(0.55))
    assert (early["day"], early["last"]) == (30, 180)
    assert early["share"] == pytest.approx(0.3 / 0.7)


def test_without_a_milestone_the_share_is_that_of_the_last_day(plan):
    verdict = describe(plan, Results.of([customers(), survival(3, 0.9), survival(21, 0.8)]))
    assert codes(verdict) == ["cohorts_described"]
    assert verdict.reasons[0].numbers["day"] == 21


def test_the_clearest_difference_of_each_key_is_told_by_its_adjusted_p(plan):
    rows = [customers(), survival(30, 0.7), survival(60, 0.6)]
    rows += [gap("A", 60, -0.2, 0.01, 0.03), gap("C", 60, -0.3, 0.02, 0.04)]
    rows += [gap("A", 30, 0.5, 1e-9, 1e-9)]  # an earlier day counts only where there is no later
    rows += [gap("x", 30, 0.01, 0.5, 0.5, segment="channel")]
    rows += [gap("2026-01", 60, 0.3, 1e-9, 1e-9, segment="cohort")]
    verdict = describe(plan, Results.of(rows))
    assert codes(verdict)[1:3] == ["groups_differ", "groups_alike"]
    differ, alike = (r.numbers for r in verdict.reasons[1:3])
    assert (differ["segment"], differ["level"], differ["day"]) == ("market", "A", 60)
    # Of those who came back, so the other way round than of those who have not.
    assert (differ["difference"], differ["p"]) == (0.2, 0.03)
    assert (differ["ci_low"], differ["ci_high"]) == (pytest.approx(0.1), pytest.approx(0.3))
    assert (alike["segment"], alike["day"]) == ("channel", 30)


def test_without_correction_the_plain_p_counts(plan):
    rows = [customers(), survival(30, 0.7), gap("A", 30, -0.2, 0.04, None)]
    assert codes(describe(plan, Results.of(rows))) == ["cohorts_described", "groups_differ"]


def test_a_comparison_without_an_error_says_nothing(plan):
    rows = [customers(), survival(30, 0.7), gap("A", 30, -0.2, None, None)]
    assert codes(describe(plan, Results.of(rows))) == ["cohorts_described"]


@pytest.fixture(scope="module")
def competing(tmp_path_factory):
    """A plan of fully followed customers, half of whom refund before they could come back."""
    orders = [[20 + i % 9] if i % 14 else [] for i in range(N)]
    refunds = [[1 + i % 9] if i % 2 else [] for i in range(N)]
    shop = Shop([0] * N, orders, refunds, COLUMNS)
    return study(tmp_path_factory.mktemp("refunds"), shop, by=["market"], competing=["refunds"])


def test_where_events_compete_shares_are_of_those_who_came_first(competing):
    rows = [customers(), survival(30, 0.2), survival(60, 0.1)]
    rows += [first(30, 0.3), first(60, 0.4), first(30, 0.9, "refunds"), first(60, 0.9, "refunds")]
    rows += [gap("A", 60, -0.8, 1e-9, 1e-9)]
    rows += [gap("A", 60, 0.1, 0.6, 0.7, estimand="incidence_difference", term="orders")]
    rows += [gap("A", 60, 0.9, 1e-9, 1e-9, estimand="incidence_difference", term="refunds")]
    verdict = describe(competing, Results.of(rows))
    assert codes(verdict) == ["cohorts_described", "groups_alike", "most_leave_early"]
    told, alike, early = (r.numbers for r in verdict.reasons)
    assert (told["day"], told["share"]) == (60, 0.4)
    assert (told["ci_low"], told["ci_high"]) == (pytest.approx(0.35), pytest.approx(0.45))
    assert (alike["difference"], alike["p"]) == (0.1, 0.7)
    assert (alike["ci_low"], alike["ci_high"]) == (pytest.approx(0.0), pytest.approx(0.2))
    assert early["share"] == pytest.approx(0.3 / 0.4)


def test_customers_who_refund_first_have_not_come_back(competing):
    """Most of the others come back, so that of the censoring curve most of all do."""
    results = analysed(competing)
    back = sum(1 for i in range(0, N, 2) if i % 14)
    told = describe(competing, results).reasons[0].numbers
    assert (told["day"], told["share"]) == (60, pytest.approx(back / N))
    censored = results.one(estimand="survival", segment=None, at="60")
    assert censored.estimate == pytest.approx(1 - back / (N / 2))
    for row in results.where(estimand=["survival", "rmst", "rmst_difference"]).rows:
        assert row.method.endswith("competing events censored")
    assert results.one(estimand="survival_quantile", segment=None, term="0.25").estimate == 25
    compared = [r for r in results.rows if r.segment == "market" and r.baseline is not None]
    assert (compared[0].estimand, compared[0].at) == ("incidence_difference", "60")
    assert compared[0].term == "orders"


def test_the_day_that_the_file_fixes_is_told(tmp_path):
    orders = [[1 + i % 29] if (i // 5) % 2 else [] for i in range(N)]
    plan = study(tmp_path, Shop([0] * N, orders, columns=COLUMNS), by=["market"], tau="20d")
    results = analysed(plan)
    assert {r.at for r in results.where(estimand="survival_difference").rows} == {"20", "30", "60"}
    verdict = describe(plan, results)
    found = {r.code: r.numbers["day"] for r in verdict.reasons if r.code != "most_leave_early"}
    assert set(found.values()) == {20}
    assert len(found) == 2


def test_how_many_come_early_is_told_of_one_day_on_all_pages(tmp_path):
    """The verdict and the figure of the hazard, where the horizon is no milestone."""
    orders = [[1 + i % 100] for i in range(150)]
    plan = study(tmp_path, Shop([0] * 150, orders), horizon="120d")
    results = analysed(plan)
    reason = next(r for r in describe(plan, results).reasons if r.code == "most_leave_early")
    share, last = early(results, plan.spec)
    assert last == reason.numbers["last"] == 90
    assert share == pytest.approx(reason.numbers["share"])
    assert set(MILESTONES) == set(curve_rows.MILESTONES)


@pytest.mark.parametrize(
    ("rates", "code"), [((0.9, 0.1), "groups_differ"), ((0.5, 0.5), "groups_alike")]
)
def test_real_groups_that_differ_and_that_do_not(tmp_path, rates, code):
    orders = [[1 + i % 29] if (i // 5 * 7 % 10) / 10 < rates[i % 5 > 1] else [] for i in range(N)]
    shop = Shop([0] * N, orders, columns=COLUMNS)
    plan = study(tmp_path, shop, by=["market"])
    verdict = describe(plan, analysed(plan))
    found = next(r for r in verdict.reasons if r.code == code)
    shares = shop.people().assign(back=lambda p: p["cause"] == 1).groupby("market")["back"].mean()
    assert (found.numbers["level"], found.numbers["baseline"]) == ("A", "B")
    assert found.numbers["difference"] == pytest.approx(shares["A"] - shares["B"])


def test_every_reason_has_a_sentence_in_both_languages(tmp_path):
    sale = {"name": "sale", "from": FIRST, "to": FIRST + dt.timedelta(days=50)}
    plan = study(tmp_path, random_shop(6), by=["market"], promotion=sale)
    verdict = rl.describe(plan, analysed(plan))
    assert len(verdict.reasons) >= 4
    for language in ("en", "zh"):
        told = [reason_text(r, plan.spec, language, verdict.reasons) for r in verdict.reasons]
        assert len(set(told)) == len(told)
        assert all(told)
