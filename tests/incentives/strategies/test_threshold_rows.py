"""A threshold from a file to rows: effects, the design's tests, the figure, and the ledger."""

from __future__ import annotations

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.incentives.threshold.density import density_test
from retention_lab.incentives.threshold.local import jump, sides
from retention_lab.incentives.threshold.measure import measure

METRICS = [
    {"name": "again", "kind": "proportion", "role": "primary"},
    {"name": "revenue", "kind": "mean"},
    {"name": "returns", "kind": "mean"},
]
SAID = {"strategy": "threshold", "running": "basket", "cutoff": 49}


def baskets(n=4000, seed=1, effect=8.0):
    rng = np.random.default_rng(seed)
    x = np.round(rng.gamma(2.6, 54 / 2.6, n), 2)
    revenue = 20 + 0.3 * x + effect * (x >= 49) + rng.gamma(2, 5, n)
    return {
        "basket": x,
        "again": (rng.random(n) < 0.2 + 0.001 * x + 0.1 * (x >= 49)).astype(int),
        "revenue": revenue,
        "returns": revenue * (rng.random(n) < 0.1),
        "before": rng.poisson(1 + x / 40),
        "channel": np.array(["Web", "App", "Shop"])[rng.integers(0, 3, n)],
        "phone": rng.random(n) < 0.5,
    }


def asked(write, columns, incentive=SAID, metrics=METRICS, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, metrics=metrics,
                 incentive=incentive, **spec)  # fmt: skip
    plan = rl.plan(path)
    return plan, rl.analyse_incentive(plan, rl.reduce_incentive(plan))


def test_the_headline_is_the_robust_one(write):
    d = baskets()
    _, results = asked(write, d)
    for metric in ("again", "revenue", "returns"):
        found = measure(d["basket"], d[metric].astype(float), 49.0).jump
        row = results.one(estimand="threshold_effect", metric=metric, term=None)
        assert row.estimate == pytest.approx(found.robust.value, rel=1e-9)
        assert (row.ci_low, row.ci_high) == pytest.approx((found.robust.low, found.robust.high))
        assert (row.n_baseline, row.n) == found.n
        assert (row.arm, row.baseline) == (None, None)
        assert "robust" in row.method
        plain = results.one(estimand="threshold_effect", metric=metric, term="conventional")
        assert plain.estimate == pytest.approx(found.conventional.value)
        assert results.one(estimand="bandwidth", metric=metric, term="h").estimate == found.h
        assert results.one(estimand="bandwidth", metric=metric, term="b").estimate == found.b
    main = results.one(estimand="threshold_effect", metric="again", term=None)
    assert main.p_adjusted == main.p_value
    assert abs(results.one(estimand="threshold_effect", metric="revenue", term=None).estimate - 8
               ) < 4  # fmt: skip


def test_the_designs_tests_are_there(write):
    d = baskets()
    said = {**SAID, "covariates": ["before", "channel", "phone"]}
    _, results = asked(write, d, said)
    density = results.one(estimand="density_test")
    found = density_test(d["basket"], 49.0)
    assert density.p_value == pytest.approx(found.p_value)
    assert density.metric is None
    at = [r.at for r in results.where(estimand="placebo_cutoff", metric="revenue").rows]
    medians = [np.median(d["basket"][side]) for side in (d["basket"] < 49, d["basket"] >= 49)]
    assert [float(a) for a in at] == pytest.approx(medians)
    jumps = results.where(estimand="covariate_jump").rows
    assert {r.term for r in jumps} == {
        "before", "channel=App", "channel=Shop", "channel=Web", "phone",
    }  # fmt: skip
    assert all(abs(r.estimate) < 4 * r.std_error for r in jumps)
    web = results.one(estimand="covariate_jump", term="channel=Web")
    alone = measure(d["basket"], (d["channel"] == "Web").astype(float), 49.0).jump
    assert web.estimate == pytest.approx(alone.robust.value)


def test_named_placebos_are_those_that_are_tried(write):
    _, results = asked(write, baskets(), {**SAID, "placebo_cutoffs": [30, 80.5]})
    rows = results.where(estimand="placebo_cutoff", metric="again").rows
    assert [r.at for r in rows] == ["30", "80.5"]


def test_the_picture_holds_no_few_customers(write):
    d = baskets()
    _, results = asked(write, d, privacy={"min_cell": 50})
    bins = results.where(estimand="binned_mean", metric="revenue").rows
    assert sum(r.n for r in bins) == len(d["basket"])
    assert min(r.n for r in bins) >= 50
    assert all((float(r.at) < 49) == (r.term == "below") for r in bins)
    fit = results.where(estimand="threshold_fit", metric="revenue").rows
    limits = {r.term: r.estimate for r in fit if r.at == "49"}
    plain = results.one(estimand="threshold_effect", metric="revenue", term="conventional")
    assert limits["above"] - limits["below"] == pytest.approx(plain.estimate)


def test_a_bin_in_which_all_are_alike_has_no_interval(write):
    """That nobody of 30 came back is no proof that nobody would."""
    d = baskets()
    d["again"] = np.where(d["basket"] < 30, 0, d["again"])
    _, results = asked(write, d)
    bins = results.where(estimand="binned_mean", metric="again").rows
    flat = [r for r in bins if r.estimate == 0.0]
    assert flat
    assert all((r.std_error, r.ci_low, r.ci_high) == (None, None, None) for r in flat)
    assert all(r.ci_low < r.estimate < r.ci_high for r in bins if 0.0 < r.estimate < 1.0)


def test_where_units_below_are_treated_the_sign_turns(write):
    d = baskets()
    _, above = asked(write, d)
    _, below = asked(write, d, {**SAID, "above": False})
    a, b = (r.one(estimand="threshold_effect", metric="revenue", term=None) for r in (above, below))
    assert (b.estimate, b.ci_low, b.ci_high) == pytest.approx((-a.estimate, -a.ci_high, -a.ci_low))
    assert (b.n, b.n_baseline) == (a.n_baseline, a.n)
    assert b.p_value == a.p_value


def test_a_crowd_above_the_limit_keeps_the_verdict_open(write):
    d = baskets(effect=12)
    rng = np.random.default_rng(4)
    near = (d["basket"] > 42) & (d["basket"] < 49) & (rng.random(4000) < 0.5)
    d["basket"] = np.where(near, 49 + np.round(rng.exponential(1.5, 4000), 2), d["basket"])
    first = [{**m, "role": "primary" if m["name"] == "revenue" else "secondary"} for m in METRICS]
    plan, results = asked(write, d, metrics=first)
    assert results.one(estimand="density_test").p_value < 0.001
    verdict = rl.decide_incentive(plan, results)
    assert verdict.decision == "keep_running"
    assert "incentive_density" in [r.code for r in verdict.reasons]
    plan, results = asked(write, baskets(effect=12), metrics=first)
    assert rl.decide_incentive(plan, results).decision == "ship"


def test_the_ledger_is_of_a_unit_at_the_limit(write):
    d = baskets(effect=12)
    said = {**SAID, "revenue": "revenue", "returns": "returns", "margin": 0.5,
            "cost": {"contact": 2.0}}  # fmt: skip
    plan, results = asked(write, d, said)
    goods = measure(d["basket"], d["revenue"] - d["returns"], 49.0).jump.robust
    profit = results.one(estimand="incremental_profit")
    assert profit.estimate == pytest.approx(0.5 * goods.value - 2)
    assert (profit.ci_low, profit.ci_high) == pytest.approx(
        (0.5 * goods.low - 2, 0.5 * goods.high - 2)
    )
    ratio = results.one(estimand="margin_per_dollar")
    assert ratio.estimate == pytest.approx(0.5 * goods.value / 2)
    assert (ratio.ci_low, ratio.ci_high) == pytest.approx((goods.low / 4, goods.high / 4))
    lines = "incremental_revenue", "incremental_returns", "incremental_margin", "cost_contact"
    by = {e: results.one(estimand=e).estimate for e in lines}
    kept = by["incremental_revenue"] - by["incremental_returns"]
    assert kept == pytest.approx(goods.value, rel=1e-9)
    assert 0.5 * kept == pytest.approx(by["incremental_margin"], rel=1e-9)
    assert by["incremental_margin"] - by["cost_contact"] == pytest.approx(profit.estimate, rel=1e-9)
    widths = measure(d["basket"], d["revenue"] - d["returns"], 49.0).bandwidths
    both = sides(d["basket"], d["returns"], 49.0)
    own = jump(*both, widths.h, widths.b).robust
    row = results.one(estimand="incremental_returns")
    assert (row.estimate, row.ci_low, row.ci_high) == pytest.approx((own.value, own.low, own.high))
    codes = [r.code for r in rl.decide_incentive(plan, results).reasons]
    assert set(codes) & {"incentive_pays", "incentive_unclear", "incentive_pays_too_little"}


def test_without_returns_the_revenue_is_the_headline(write):
    said = {**SAID, "revenue": "revenue", "margin": 0.5, "cost": {"contact": 2.0}}
    _, results = asked(write, baskets(), said)
    effect = results.one(estimand="threshold_effect", metric="revenue", term=None)
    assert results.one(estimand="incremental_revenue").estimate == pytest.approx(effect.estimate)
    assert not results.where(estimand="incremental_returns").rows


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("gone", ["none", "some unknown"])
def test_steps_add_up_whatever_is_sent_back(write, above, gone):
    d = baskets(effect=12)
    import pyarrow as pa

    holes = np.where(np.arange(4000) % 9, d["returns"], np.nan)
    d["returns"] = np.zeros(4000) if gone == "none" else pa.array(holes, from_pandas=True)
    metrics = [*METRICS[:2], {**METRICS[2], "missing": "drop"}]
    said = {**SAID, "revenue": "revenue", "returns": "returns", "margin": 0.5, "above": above,
            "cost": {"contact": 2.0}}  # fmt: skip
    _, results = asked(write, d, said, metrics)
    at = {e: results.one(estimand=e).estimate for e in
          ("incremental_revenue", "incremental_returns", "incremental_profit")}  # fmt: skip
    steps = 0.5 * (at["incremental_revenue"] - at["incremental_returns"]) - 2
    assert steps == pytest.approx(at["incremental_profit"], rel=1e-9)
    assert (at["incremental_returns"] == 0) == (gone == "none")


def test_without_a_cost_there_is_no_ratio(write):
    said = {**SAID, "revenue": "revenue", "margin": 0.5}
    _, results = asked(write, baskets(), said)
    assert results.one(estimand="margin_per_dollar").note.startswith("no_cost: ")


def test_a_constant_outcome_and_a_fault_lose_nothing_else(write):
    d = baskets()
    d["again"] = np.zeros(4000, int)
    d["returns"] = np.where(np.arange(4000) == 7, np.inf, d["returns"])
    _, results = asked(write, d)
    row = results.one(estimand="threshold_effect", metric="again")
    assert row.estimate is None
    assert row.note.startswith("constant_outcome: ")
    row = results.one(estimand="threshold_effect", metric="returns")
    assert row.note.startswith("not_finite: ")
    assert results.one(estimand="threshold_effect", metric="revenue", term=None).estimate


def test_a_heap_is_told(write):
    d = baskets()
    d["basket"] = np.where((d["basket"] > 45) & (d["basket"] < 53), 50.0, d["basket"])
    _, results = asked(write, d)
    assert results.one(estimand="density_test").note.startswith("heaps: ")


def test_missing_values_and_caps(write):
    d = baskets()
    gone = np.arange(4000) % 9 == 0
    holes = np.where(gone, np.nan, d["revenue"])
    import pyarrow as pa

    d["revenue"] = pa.array(holes, from_pandas=True)
    d["basket"] = pa.array(np.where(np.arange(4000) % 50 == 0, np.nan, d["basket"]),
                           from_pandas=True)  # fmt: skip
    metrics = [METRICS[0], {**METRICS[1], "missing": "drop", "cap": {"quantile": 0.9}}]
    plan, results = asked(write, d, metrics=metrics)
    codes = {c.code for c in plan.checks}
    assert {"missing_running", "missing", "sides"} <= codes
    x = np.asarray(d["basket"].to_numpy(zero_copy_only=False), float)
    kept = np.isfinite(x)
    top = np.nanquantile(holes[kept], 0.9)
    found = measure(x[kept], np.minimum(holes[kept], top), 49.0)
    row = results.one(estimand="threshold_effect", metric="revenue", term=None)
    assert row.estimate == pytest.approx(found.jump.robust.value)
    assert row.note.startswith("missing_outcomes: ")
    metrics[1] = {**METRICS[1], "missing": "zero"}
    _, results = asked(write, d, metrics=metrics)
    found = measure(x[kept], np.nan_to_num(holes[kept]), 49.0)
    row = results.one(estimand="threshold_effect", metric="revenue", term=None)
    assert row.estimate == pytest.approx(found.jump.robust.value)


def test_a_limit_in_single_precision_is_where_it_is_written(write):
    """0.7 in single precision is less than 0.7."""
    d = baskets()
    d["basket"] = (np.round(d["basket"]) / 70).astype(np.float32)
    _, results = asked(write, d, {**SAID, "cutoff": 0.7})
    x = np.round(d["basket"].astype(float) * 70) / 70
    found = measure(np.where(np.isclose(x, 0.7), 0.7, x), d["revenue"], 0.7).jump
    row = results.one(estimand="threshold_effect", metric="revenue", term=None)
    assert np.isclose(x, 0.7).sum() > 20
    assert (row.n_baseline, row.n) == found.n
    assert row.estimate == pytest.approx(found.robust.value, rel=1e-4)


def test_the_order_of_rows_changes_nothing(write):
    d = baskets()
    _, plain = asked(write, d)
    mixed = np.random.default_rng(5).permutation(4000)
    _, other = asked(write, {k: v[mixed] for k, v in d.items()})
    assert other == plain


def test_of_few_values_no_sorting_is_told(write):
    """Multiples of 5 dollars: the bandwidth would be all of a side, its bend look like sorting."""
    d = baskets(n=20_000)
    fives = {**d, "basket": np.round(d["basket"] / 5) * 5}
    assert density_test(fives["basket"], 50.0).p_value < 0.05  # which is why
    _, results = asked(write, fives, {**SAID, "cutoff": 50})
    row = results.one(estimand="density_test")
    assert row.note.startswith("no_density: ")
    assert row.p_value is None
    _, results = asked(write, {**d, "basket": np.round(d["basket"])})
    assert results.one(estimand="density_test").p_value is not None
