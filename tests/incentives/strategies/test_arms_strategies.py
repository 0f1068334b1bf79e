"""Strategies of arms dealt by chance, from a file to rows: randomised, encouragement, dose."""

from __future__ import annotations

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.errors import PlanError

DESIGN = {"unit": "id", "arm": "arm", "control": "none"}
MONEY = {"revenue": "revenue", "margin": 0.4}
METRICS = [
    {"name": "revenue", "kind": "mean", "role": "primary"},
    {"name": "returns", "kind": "mean"},
    {"name": "bought", "kind": "proportion"},
]


def shop(n=6000, seed=3, effect=0.05, arms=("none", "c10", "c20")):
    rng = np.random.default_rng(seed)
    arm = np.array(arms)[rng.integers(0, len(arms), n)]
    value = np.array([float(a[1:]) if a != "none" else 0.0 for a in arm])
    u = rng.random(n)
    bought = (u < 0.2 + effect * np.sqrt(value / 10)).astype(float)
    redeemed = ((value > 0) & (bought > 0) & (rng.random(n) < 0.8)).astype(float)
    revenue = bought * rng.lognormal(4, 0.5, n)
    returns = revenue * (rng.random(n) < 0.1)
    return {
        "id": np.arange(n), "arm": arm, "bought": bought, "redeemed": redeemed,
        "revenue": revenue, "returns": returns, "before": rng.normal(size=n) + bought,
        "store": rng.integers(0, 40, n),
    }  # fmt: skip


def asked(write, columns, incentive, metrics=METRICS, design=DESIGN, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                 metrics=metrics, incentive=incentive, **spec)  # fmt: skip
    plan = rl.plan(path)
    return plan, rl.analyse_incentive(plan, rl.reduce_incentive(plan))


def difference(d, arm, x):
    a, b = x[d["arm"] == arm], x[d["arm"] == "none"]
    return a.mean() - b.mean(), np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))


def test_the_ledger_of_every_arm_is_that_of_the_customers(write):
    d = shop()
    said = {"strategy": "randomised", **MONEY, "returns": "returns", "redeemed": "redeemed",
            "dose": {"c10": 10, "c20": 20},
            "cost": {"contact": 0.05, "redemption": "dose"}}  # fmt: skip
    _, results = asked(write, d, said)
    for arm, value in (("c10", 10.0), ("c20", 20.0)):
        cost = np.where(d["arm"] == arm, 0.05, 0.0) + value * d["redeemed"]
        profit = 0.4 * (d["revenue"] - d["returns"]) - cost
        row = results.one(estimand="incremental_profit", arm=arm)
        estimate, error = difference(d, arm, profit)
        assert row.estimate == pytest.approx(estimate, rel=1e-9)
        assert row.std_error == pytest.approx(error, rel=1e-9)
        margin = difference(d, arm, 0.4 * (d["revenue"] - d["returns"]))[0]
        ratio = results.one(estimand="margin_per_dollar", arm=arm)
        assert ratio.estimate == pytest.approx(margin / difference(d, arm, cost)[0], rel=1e-9)
        assert results.one(estimand="redemption_rate", arm=arm).n == (d["arm"] == arm).sum()


def test_an_adjusted_profit_stands_beside_the_one_that_was_booked(write):
    d = shop()
    metrics = [{**METRICS[0], "covariates": ["before"]}, *METRICS[1:]]
    _, results = asked(write, d, {"strategy": "randomised", **MONEY, "cost": {"contact": 0.1}},
                       metrics)  # fmt: skip
    plain = results.one(estimand="incremental_profit", arm="c10", term=None)
    moved = results.one(estimand="incremental_profit", arm="c10", term="adjusted")
    assert plain.estimate == pytest.approx(0.4 * difference(d, "c10", d["revenue"])[0] - 0.1)
    assert moved.estimate != plain.estimate
    assert moved.std_error < plain.std_error
    assert not results.where(estimand="revenue_ratio", term="adjusted").rows


def test_clusters_have_the_errors_of_whole_clusters(write):
    d = shop(n=8000)
    d["arm"] = np.where(d["store"] % 2 == 0, "none", "c10")
    _, results = asked(write, d, {"strategy": "randomised", **MONEY, "cost": {"contact": 0.1}},
                       design={**DESIGN, "cluster": "store"})  # fmt: skip
    row = results.one(estimand="incremental_revenue")
    assert "clusters" in row.method
    store = {a: np.unique(d["store"][d["arm"] == a]) for a in ("none", "c10")}
    variance = 0.0
    for arm, names in store.items():
        mine = d["arm"] == arm
        left = np.array([d["revenue"][mine & (d["store"] != s)].mean() for s in names])
        g = len(names)
        variance += (g - 1) / g * ((left - d["revenue"][mine].mean()) ** 2).sum()
    assert row.std_error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_encouragement_gives_the_effect_on_redeemers_with_its_first_stage(write):
    d = shop(effect=0.1, arms=("none", "c10"))
    said = {"strategy": "encouragement", "redeemed": "redeemed", "outcomes": ["revenue", "bought"]}
    _, results = asked(write, d, said)
    for metric in ("revenue", "bought"):
        y, r = (difference(d, "c10", d[k])[0] for k in (metric, "redeemed"))
        row = results.one(estimand="late", metric=metric)
        assert row.estimate == pytest.approx(y / r, rel=1e-9)
        assert row.ci_low < row.estimate < row.ci_high
        assert results.one(estimand="first_stage", metric=metric).estimate == pytest.approx(r)
    low, high = (
        results.one(estimand="full_uptake_bound", metric="bought", term=t).estimate
        for t in ("lower", "upper")
    )
    assert low < high
    assert not results.where(estimand="full_uptake_bound", metric="revenue").rows
    late = results.where(estimand="late").rows
    assert [r.p_adjusted is not None for r in late] == [True, False]  # revenue is primary


def test_events_tell_who_redeemed(write):
    d = shop(n=3000, arms=("none", "c10"))
    day = np.datetime64("2026-01-01T12:00:00")
    who = np.flatnonzero(d["bought"])
    used = np.flatnonzero(d["redeemed"])
    tables = {
        "assignments": {"id": d["id"], "arm": d["arm"], "at": np.repeat(day, 3000)},
        "orders": {"id": d["id"][who], "at": np.repeat(day + np.timedelta64(3, "D"), len(who)),
                   "value": d["revenue"][who]},
        "uses": {"id": d["id"][used], "at": np.repeat(day + np.timedelta64(3, "D"), len(used))},
    }  # fmt: skip
    data = {
        "assignments": {"table": "assignments.parquet", "at": "at"},
        "events": {
            "orders": {"table": "orders.parquet", "at": "at"},
            "uses": {"table": "uses.parquet", "at": "at"},
        },
        "as_of": "2026-03-01",
    }
    metrics = [
        {"name": "back", "kind": "retention", "event": "orders", "within": "30d",
         "role": "primary"},
        {"name": "spent", "kind": "sum", "event": "orders", "value": "value", "within": "30d"},
    ]  # fmt: skip
    incentive = {"strategy": "encouragement", "redeemed": "uses", "revenue": "spent",
                 "margin": 0.4, "cost": {"redemption": 10}}  # fmt: skip
    path = write(tables, data=data, design=DESIGN, metrics=metrics, incentive=incentive)
    plan = rl.plan(path)
    results = rl.analyse_incentive(plan, rl.reduce_incentive(plan))
    y, r = (difference(d, "c10", d[k])[0] for k in ("bought", "redeemed"))
    assert results.one(estimand="late", metric="back").estimate == pytest.approx(y / r, rel=1e-9)
    anyway = results.one(estimand="redeemed_anyway", metric="spent")
    rate = d["redeemed"][d["arm"] == "c10"].mean()
    assert anyway.estimate == pytest.approx(1 - y / rate, rel=1e-9)


def test_a_dose_has_means_curves_and_a_best_value(write):
    d = shop(n=40_000, seed=5, effect=0.06, arms=("none", "c5", "c10", "c20", "c40"))
    said = {"strategy": "dose", **MONEY, "redeemed": "redeemed",
            "dose": {"none": 0, "c5": 5, "c10": 10, "c20": 20, "c40": 40},
            "cost": {"redemption": "dose"}, "outcomes": ["bought"]}  # fmt: skip
    _, results = asked(write, d, said)
    at = results.one(estimand="dose_mean", metric="bought", at="10")
    assert at.estimate == pytest.approx(d["bought"][d["arm"] == "c10"].mean())
    line = results.one(estimand="marginal_effect", metric="bought", term="linear", at="5")
    slope = np.polyfit([{"none": 0.0}.get(a) or float(a[1:] if a != "none" else 0)
                        for a in d["arm"]], d["bought"], 1)[0]  # fmt: skip
    assert line.estimate == pytest.approx(slope, rel=1e-6)
    steps = [r.estimate for r in results.where(estimand="dose_response", term="isotonic").rows]
    assert steps == sorted(steps)
    best = results.one(estimand="best_dose")
    chances = [r.estimate for r in results.where(estimand="chance_best").rows]
    assert sum(chances) == pytest.approx(1)
    assert best.ci_low <= best.estimate <= best.ci_high
    value = np.array([float(a[1:]) if a != "none" else 0.0 for a in d["arm"]])
    profit = 0.4 * d["revenue"] - value * d["redeemed"]
    row = results.one(estimand="profit_at_dose", at="20")
    assert row.estimate == pytest.approx(profit[d["arm"] == "c20"].mean(), rel=1e-9)


def test_of_many_doses_the_best_is_found_where_no_smooth_curve_goes(write):
    """Six knots cannot follow twelve doses of which one stands out."""
    arms = ("none", *(f"c{i}" for i in range(1, 12)))
    d = shop(n=6_000, arms=arms)
    d["revenue"] = np.random.default_rng(6).normal(20 + 5 * (d["arm"] == "c8"), 5)
    said = {"strategy": "dose", "revenue": "revenue", "margin": 0.4, "cost": {"contact": 0.1},
            "dose": {a: i for i, a in enumerate(arms)}}  # fmt: skip
    _, results = asked(write, d, said)
    row = results.one(estimand="chance_best", at="8")
    assert row.estimate > 0.99
    assert row.method == "normal draws of the means at these doses"
    best = results.one(estimand="best_dose")
    assert best.ci_low <= 8 <= best.ci_high


@pytest.mark.parametrize(
    ("incentive", "said"),
    [
        ({"strategy": "randomised", "revenue": "revenu", "margin": 0.3}, "did you mean 'revenue'"),
        ({"strategy": "randomised", "revenue": "bought", "margin": 0.3}, "is a proportion"),
        ({"strategy": "randomised", "dose": {"c11": 5}}, "no arm 'c11'"),
        ({"strategy": "encouragement", "redeemed": "redeemd"}, "did you mean 'redeemed'"),
        ({"strategy": "encouragement", "redeemed": "bought"}, "is a metric"),
        ({"strategy": "encouragement", "redeemed": "arm"}, "it must be 0 or 1"),
        ({"strategy": "randomised", "outcomes": ["nothing"]}, "no metric 'nothing'"),
    ],
)
def test_what_does_not_fit_is_a_fault_of_the_plan(write, incentive, said):
    split = {"expected_split": {"none": 1, "c10": 1, "c20": 1}}
    path = write({"units": shop(n=300)}, data={"units": "units.parquet"}, incentive=incentive,
                 design=DESIGN | split, metrics=METRICS)  # fmt: skip
    with pytest.raises(PlanError, match=said):
        rl.plan(path)


@pytest.mark.parametrize(
    ("incentive", "said"),
    [
        ({"strategy": "encouragement"}, "encouragement needs redeemed"),
        ({"strategy": "randomised", "market": "m"}, "randomised does not use market"),
        ({"strategy": "randomised", "margin": 0.3}, "margin needs revenue"),
        ({"strategy": "randomised", "cost": {"redemption": 3}}, "needs redeemed"),
        ({"strategy": "dose", "dose": {"c10": 10}}, "two values or more"),
        ({"strategy": "randomised", "cost": {"contact": -1}}, "-1 is not at least 0"),
    ],
)
def test_what_is_missing_is_a_fault_of_the_file(write, incentive, said):
    from retention_lab.errors import SpecError

    path = write({"units": shop(n=300)}, data={"units": "units.parquet"}, incentive=incentive,
                 design=DESIGN, metrics=METRICS)  # fmt: skip
    with pytest.raises(SpecError, match=said):
        rl.plan(path)


def test_a_metric_without_a_result_says_why_and_stops_nothing(write):
    d = shop(n=600)
    d["revenue"] = d["revenue"].copy()
    d["revenue"][0] = np.nan
    said = {"strategy": "encouragement", "redeemed": "redeemed", **MONEY,
            "cost": {"contact": 0.1}}  # fmt: skip
    _, results = asked(write, d, said)
    row = results.where(estimand="late", metric="revenue").rows[0]
    assert row.note.startswith("not_finite")
    assert results.where(estimand="late", metric="bought").rows[0].estimate is not None
    assert results.where(estimand="incremental_profit").rows[0].note.startswith("not_finite")


def test_doses_at_which_nothing_varies_have_no_interval(write):
    """Nobody bought without an offer: that is no proof that nobody ever would."""
    d = shop(arms=("none", "c5", "c10", "c20", "c40"))
    d["bought"] = np.where(d["arm"] == "none", 0.0, d["bought"])
    said = {"strategy": "dose", "dose": {"none": 0, "c5": 5, "c10": 10, "c20": 20, "c40": 40},
            "outcomes": ["bought"]}  # fmt: skip
    _, results = asked(write, d, said)
    for row in (
        results.one(estimand="dose_mean", at="0", metric="bought"),
        results.one(estimand="dose_response", at="0", metric="bought", term="spline"),
    ):
        assert row.estimate == pytest.approx(0.0, abs=1e-9)
        assert (row.std_error, row.ci_low, row.ci_high) == (None, None, None)
        assert row.note.startswith("zero_variance")
    assert results.one(estimand="dose_mean", at="5", metric="bought").ci_low > 0.0


def test_arms_with_the_same_dose_are_one_point_of_a_monotone_response(write):
    """Pooled, as scikit-learn has it with the rows themselves."""
    from sklearn.isotonic import IsotonicRegression

    d = shop(arms=("none", "c5", "c6", "c20"))
    d["bought"] = np.where(
        d["arm"] == "c6", np.maximum(d["bought"], d["redeemed"] + (d["id"] % 9 < 1)), d["bought"]
    ).clip(0, 1)
    dose = {"none": 0, "c5": 5, "c6": 5, "c20": 20}
    said = {"strategy": "dose", "dose": dose, "outcomes": ["bought"]}
    _, results = asked(write, d, said)
    rows = results.where(estimand="dose_response", term="isotonic", metric="bought").rows
    assert [r.at for r in rows] == ["0", "5", "20"]
    x = [dose[a] for a in d["arm"]]
    fitted = IsotonicRegression().fit(x, d["bought"]).predict([0, 5, 20])
    assert [r.estimate for r in rows] == pytest.approx(fitted, rel=1e-9)
