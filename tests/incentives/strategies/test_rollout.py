"""A rollout from its table to the rows and the verdict; nasty tables are told, not hidden."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.data.evidence import reduce_incentive
from retention_lab.errors import PlanError
from retention_lab.experiment.spec import Spec
from retention_lab.incentives.analyse import analyse_incentive
from retention_lab.incentives.decide import decide_incentive

INCENTIVE = {"strategy": "rollout", "market": "market", "adopted": "opened", "period": "period"}
METRICS = [{"name": "rate", "kind": "proportion", "role": "primary"}]


def table(treated=12, never=12, periods=8, starts=(3, 5), effect=0.05, seed=1, first=2001):
    """Columns of a panel in long form, in no particular order."""
    rng = np.random.default_rng(seed)
    size = treated + never
    opened = np.full(size, np.nan)
    opened[:treated] = np.resize(np.array(starts, float), treated)
    t = np.arange(periods)
    rate = 0.3 + 0.03 * rng.normal(size=(size, 1)) + 0.01 * rng.normal(size=(size, periods))
    rate = rate + effect * (t >= np.where(np.isnan(opened), np.inf, opened)[:, None])
    order = rng.permutation(size * periods)
    columns = {
        "market": [f"m{i:02}" for i in range(size) for _ in t],
        "period": [first + int(p) for _ in range(size) for p in t],
        "opened": [None if np.isnan(o) else first + int(o) for o in opened for _ in t],
        "customers": rng.integers(100, 900, size * periods).tolist(),
        "rate": np.round(rate, 6).ravel().tolist(),
    }
    return {k: [v[i] for i in order] for k, v in columns.items()}


def changed(columns, keep=None, **new):
    """Rows for which `keep` holds, with new columns by functions of a row."""
    rows = [dict(zip(columns, r, strict=True)) for r in zip(*columns.values(), strict=True)]
    rows = [r for r in rows if keep is None or keep(r)]
    for r in rows:
        r.update({k: f(r) for k, f in new.items()})
    return {k: [r[k] for r in rows] for k in rows[0]}


@pytest.fixture
def planned(write):
    def _planned(columns, metrics=METRICS, **incentive):
        path = write(
            {"panel": columns},
            data={"units": "panel.parquet"},
            metrics=metrics,
            incentive=INCENTIVE | incentive,
        )
        return rl.plan(path)

    return _planned


@pytest.fixture
def analysed(planned):
    def _analysed(columns, metrics=METRICS, **incentive):
        plan = planned(columns, metrics, **incentive)
        return plan, analyse_incentive(plan, reduce_incentive(plan))

    return _analysed


def codes(plan):
    return {c.code for c in plan.checks}


def code(row):
    return row.note.partition(":")[0] if row.note else None


def test_every_estimand_and_the_verdict(analysed):
    plan, results = analysed(table())
    assert (plan.arms, dict(plan.needed), plan.faults) == ((), {}, {})
    assert plan.definition
    row = results.one(estimand="average_effect", term=None)
    assert (row.arm, row.baseline, row.metric, row.n, row.n_baseline) == (
        None,
        None,
        "rate",
        12,
        12,
    )
    assert row.ci_low < 0.05 < row.ci_high
    assert row.p_adjusted == row.p_value
    assert row.note is None
    assert {r.estimand for r in results.rows} == {
        "average_effect", "wild_bootstrap_p", "group_effect", "calendar_effect",
        "event_time_effect", "pretrend_test", "pretrend_power", "group_time_effect",
    }  # fmt: skip
    since = results.where(estimand="event_time_effect", term=None).rows
    assert [r.at for r in since] == [str(e) for e in range(-4, 5)]
    cell = results.one(estimand="group_time_effect", term="2004", at="2008")
    assert abs(cell.estimate - 0.05) < 0.03
    assert results.one(estimand="pretrend_test").p_value > 0.01
    assert results.one(estimand="wild_bootstrap_p").p_value < 0.01
    verdict = decide_incentive(plan, results)
    assert (verdict.decision, verdict.reasons[0].code) == ("ship", "incentive_works")


def test_without_an_effect_it_does_not_ship(analysed):
    plan, results = analysed(table(effect=0.0))
    assert decide_incentive(plan, results).decision == "keep_running"


def test_the_order_of_rows_and_the_kind_of_period_do_not_matter(analysed):
    _, one = analysed(table())
    months = changed(
        table(),
        period=lambda r: dt.date(2025, r["period"] - 2000, 1),
        opened=lambda r: r["opened"] and dt.date(2025, r["opened"] - 2000, 17),
    )
    plan, other = analysed({k: v[::-1] for k, v in months.items()})
    a, b = (r.one(estimand="average_effect", term=None) for r in (one, other))
    assert b.estimate == pytest.approx(a.estimate, abs=1e-9)
    assert b.std_error == pytest.approx(a.std_error)
    assert other.where(estimand="calendar_effect").rows[0].at == "2025-04-01"
    assert "uneven_periods" not in codes(plan)


def test_weights_are_those_before_the_first_start(analysed):
    grown = changed(table(), customers=lambda r: 100 if r["period"] < 2004 else 100_000)
    _, plain = analysed(table())
    _, weighted = analysed(grown, weight="customers")
    a, b = (r.one(estimand="average_effect", term=None) for r in (plain, weighted))
    assert (a.estimate, a.std_error) == pytest.approx((b.estimate, b.std_error))
    _, other = analysed(table(), weight="customers")
    assert other.one(estimand="average_effect", term=None).estimate != pytest.approx(a.estimate)


def test_covariates_of_markets(analysed):
    columns = changed(table(treated=30, never=40), size=lambda r: float(hash_of(r["market"])))
    plan, results = analysed(columns, covariates=["size"])
    row = results.one(estimand="average_effect", term=None)
    assert "doubly robust" in row.method
    assert row.ci_low < 0.05 < row.ci_high
    moving = changed(columns, size=lambda r: float(r["period"]))
    assert "covariate" in codes(planned_of(plan, moving, analysed))


def hash_of(name):
    return (int(name[1:]) * 37) % 11


def planned_of(_, columns, analysed):
    return analysed(columns, covariates=["size"])[0]


def test_all_begin_one_after_another(analysed):
    _, results = analysed(table(never=0))
    assert code(results.one(estimand="average_effect", term=None)) == "few_markets"
    lost = results.where(estimand="group_time_effect", term="2006").rows
    assert {code(r) for r in lost if r.estimate is None} == {"no_control"}
    big = analysed(table(treated=40, never=0))[1]
    assert code(big.one(estimand="average_effect", term=None)) == "some_periods"
    with pytest.raises(PlanError, match="controls: never, but every market begins"):
        analysed(table(never=0), controls="never")


def test_few_markets_are_told(analysed):
    _, results = analysed(table(treated=3, never=20))
    row = results.one(estimand="average_effect", term=None)
    assert code(row) == "few_markets"
    assert row.ci_low < row.estimate < row.ci_high
    assert results.one(estimand="synthetic_difference").estimate == pytest.approx(0.05, abs=0.02)
    # Of the two that began together there is an error, of the one alone none.
    alone = results.one(estimand="group_effect", term="2006")
    assert (alone.n, alone.std_error, code(alone)) == (1, None, "one_market")
    assert {code(r) for r in results.where(estimand="pretrend_test").rows} <= {"few_markets", None}


def test_a_single_market_is_compared_by_a_synthetic_one_only(analysed):
    plan, results = analysed(table(treated=1, never=20, effect=0.1, seed=2))
    assert "one_treated" in codes(plan)
    assert {r.estimand for r in results.rows} == {"average_effect", "synthetic_difference"}
    row = results.one(estimand="synthetic_difference")
    assert row.ci_low < 0.1 < row.ci_high
    assert row.p_value == pytest.approx(1 / 21)
    # It is the headline too, and the verdict rests on it.
    headline = results.one(estimand="average_effect")
    same = dataclasses.replace(headline, estimand=row.estimand, p_adjusted=None)
    assert (same, headline.p_adjusted) == (row, row.p_value)
    assert (headline.n, headline.n_baseline, code(headline)) == (1, 20, "few_markets")
    assert decide_incentive(plan, results).decision == "ship"
    plan, idle = analysed(table(treated=1, never=20, effect=0.0, seed=2))
    assert decide_incentive(plan, idle).decision == "keep_running"
    plan, alone = analysed(table(treated=1, never=1))
    assert code(alone.one(estimand="synthetic_difference")) == "too_few_controls"
    none = alone.one(estimand="average_effect")
    assert (none.estimate, none.n, code(none)) == (None, 1, "one_market")
    assert decide_incentive(plan, alone).decision == "keep_running"
    holes = changed(table(treated=1, never=9), rate=lambda r: (
        None if r["market"] == "m00" and r["period"] == 2002 else r["rate"]))  # fmt: skip
    drop = [METRICS[0] | {"missing": "drop"}]
    assert code(analysed(holes, drop)[1].one(estimand="synthetic_difference")) == "gaps"


@pytest.mark.parametrize("new", [{}, {"covariates": ["size"]}, {"weight": "customers"}])
def test_a_single_market_is_said_to_use_neither_covariates_nor_weights(planned, analysed, new):
    columns = changed(table(treated=1, never=20), size=lambda r: float(hash_of(r["market"])))
    (said,) = [c.text for c in planned(columns, **new).checks if c.code == "one_treated"]
    assert said.endswith(", which uses neither covariates nor weights") == bool(new)
    (plain, given) = (analysed(columns, **n)[1].one(estimand="average_effect") for n in ({}, new))
    assert (plain.estimate, plain.p_value) == (given.estimate, given.p_value)


def test_markets_treated_from_the_first_period_are_left_out(analysed):
    early = changed(table(), opened=lambda r: 2001 if r["market"] == "m00" else r["opened"])
    plan, results = analysed(early)
    assert "treated_from_start" in codes(plan)
    assert results.one(estimand="average_effect", term=None).n == 11
    gone = changed(table(), keep=lambda r: r["market"] != "m00")
    same = analysed(gone)[1].one(estimand="average_effect", term=None)
    assert results.one(estimand="average_effect", term=None).estimate == pytest.approx(
        same.estimate
    )
    # Before the table begins is from its beginning on.
    before = changed(table(), opened=lambda r: 1990 if r["market"] == "m00" else r["opened"])
    assert analysed(before)[1].one(estimand="average_effect", term=None).n == 11
    # What begins after the table ends has not begun.
    later = changed(table(), opened=lambda r: 2030 if r["opened"] == 2006 else r["opened"])
    assert analysed(later)[1].one(estimand="average_effect", term=None).n == 6


def test_gaps_take_only_what_needs_them(analysed):
    holes = changed(table(), keep=lambda r: not (r["market"] == "m01" and r["period"] == 2008))
    plan, results = analysed(holes)
    assert "gaps" in codes(plan)
    cell = results.one(estimand="group_time_effect", term="2006", at="2008")
    assert cell.n == 5
    assert results.one(estimand="group_time_effect", term="2006", at="2007").n == 6
    jump = changed(table(), keep=lambda r: r["period"] != 2002)
    assert "uneven_periods" in codes(analysed(jump)[0])


def test_values_that_cannot_be(analysed):
    missing = changed(table(), rate=lambda r: None if r["market"] == "m02" else r["rate"])
    plan, results = analysed(missing)
    (row,) = results.rows
    assert (row.estimand, code(row)) == ("average_effect", "missing_values")
    assert decide_incentive(plan, results).decision != "ship"
    _, dropped = analysed(missing, [METRICS[0] | {"missing": "drop"}])
    assert dropped.one(estimand="average_effect", term=None).n == 11
    large = changed(table(), rate=lambda r: r["rate"] * 100)
    assert code(analysed(large)[1].rows[0]) == "not_a_share"
    endless = changed(table(), rate=lambda r: np.inf if r["market"] == "m02" else r["rate"])
    assert code(analysed(endless)[1].rows[0]) == "not_finite"
    _, flat = analysed(changed(table(), rate=lambda _: 0.5))
    row = flat.one(estimand="average_effect", term=None)
    assert (row.estimate, row.std_error, code(row)) == (0.0, None, "zero_variance")


def always(row):
    return 2004


REFUSED = [
    ({"opened": lambda r: None}, {}, "nothing to compare"),
    ({"opened": lambda r: 2040}, {}, "no market begins within the periods"),
    ({"opened": lambda r: 2001}, {}, "no market that were not|no market that was not"),
    ({"opened": always}, {}, "all markets begin at once"),
    ({"opened": lambda r: r["period"]}, {}, "24 markets with more than one value"),
    ({"period": lambda r: r["period"] // 2}, {}, "in more than one row"),
    ({"opened": lambda r: dt.date(2004, 1, 1)}, {}, "written as periods are"),
    ({"period": lambda r: f"year {r['period']}"}, {}, "holds text"),
    ({"customers": lambda r: -1}, {"weight": "customers"}, "without a weight, or with"),
    ({}, {"market": "markt"}, "did you mean 'market'"),
    ({}, {"market": "period"}, "is named for two things"),
    ({}, {"covariates": ["size"]}, "'size' is not in panel.parquet"),
]


@pytest.mark.parametrize(("new", "incentive", "message"), REFUSED)
def test_what_is_refused(planned, new, incentive, message):
    with pytest.raises(PlanError, match=message):
        planned(changed(table(), **new), **incentive)


def test_what_a_rollout_does_not_do(planned):
    metric = {"name": "rate", "kind": "mean", "covariates": ["customers"]}
    with pytest.raises(PlanError, match="does not use covariates"):
        planned(table(), [metric])
    with pytest.raises(PlanError, match="keeps no ledger"):
        planned(table(), [METRICS[0], {"name": "sales", "kind": "mean", "value": "customers"}],
                margin=0.3, revenue="sales")  # fmt: skip


def test_a_file_without_arms_is_sound():
    said = {"schema": 1, "name": "a", "title": "A", "data": {"units": "p.csv"},
            "metrics": METRICS, "incentive": INCENTIVE}  # fmt: skip
    assert Spec.model_validate(said).undesigned


def test_covariates_that_say_nothing_are_left_out_and_told(analysed):
    columns = changed(table(), size=lambda r: 1.0 + int(r["market"][1:]) % 7, same=lambda r: 5.0)
    _, alone = analysed(columns, covariates=["size"])
    _, more = analysed(columns, covariates=["same", "size"])
    first, second = (r.one(estimand="average_effect", term=None) for r in (alone, more))
    assert second.estimate == pytest.approx(first.estimate, rel=1e-9)
    assert second.std_error == pytest.approx(first.std_error, rel=1e-9)
    assert (code(first), code(second)) == (None, "dropped_covariates")


def test_an_average_says_which_groups_the_covariates_left_out(analysed):
    """Late periods have no more controls than covariates: what is left is not all that began."""
    names = [f"x{i}" for i in range(10)]
    draws = {n: np.random.default_rng(i).normal(size=40) for i, n in enumerate(names)}
    of = {n: (lambda r, n=n: float(draws[n][int(r["market"][1:])])) for n in names}
    columns = changed(table(treated=28, never=10, starts=(3, 6), effect=0.1), **of)
    _, results = analysed(columns, covariates=names)
    left = results.where(estimand="group_time_effect", term="2007").rows
    assert "no_overlap" in {code(r) for r in left}
    assert code(results.one(estimand="average_effect", term=None)) == "no_overlap"
    _, fewer = analysed(columns, covariates=names[:3])
    assert code(fewer.one(estimand="average_effect", term=None)) is None


def test_one_large_market_is_few_markets(analysed):
    """Of twelve that begin, one with nearly all customers: few in effect."""
    for size, told in ((500, "few_markets"), (100_000, "one_market")):
        large = changed(table(), customers=lambda r, n=size: n if r["market"] == "m00" else 100)
        _, plain = analysed(large)
        _, weighted = analysed(large, weight="customers")
        rows = [r.one(estimand="average_effect", term=None) for r in (plain, weighted)]
        assert rows[0].note is None
        assert rows[1].note.startswith(told)
        assert (rows[1].std_error is None) == (told == "one_market")
