"""What a referee found: small arms told of, adjusted bounds, costs nobody had, few clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import retention_lab as rl
from retention_lab.errors import PlanError
from retention_lab.incentives.observed.overlap import few, shown

DESIGN = {"unit": "id", "arm": "arm", "control": "none"}
MONEY = {"revenue": "revenue", "margin": 0.4, "redeemed": "redeemed"}
METRICS = [
    {"name": "revenue", "kind": "mean", "role": "primary"},
    {"name": "bought", "kind": "proportion"},
]


def shop(n=1500, seed=2, small=0):
    """Customers of whom the keen buy and redeem more; `small` more in a third arm."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    arm = np.where(rng.random(n) < 1 / (1 + np.exp(-0.5 * x)), "coupon", "none").astype(object)
    arm[:small] = "tiny"
    got = arm != "none"
    redeemed = got & (rng.random(n) < 1 / (1 + np.exp(-2 * x)))
    bought = rng.random(n) < 1 / (1 + np.exp(1 - x)) + 0.2 * redeemed
    return {
        "id": np.arange(n), "arm": arm.astype(str), "x": x, "bought": bought.astype(int),
        "redeemed": redeemed.astype(int), "revenue": bought * rng.lognormal(3, 0.5, n),
        "market": rng.integers(0, 4, n), "store": rng.integers(0, 12, n),
    }  # fmt: skip


def asked(write, columns, incentive, metrics=METRICS, design=DESIGN, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                 metrics=metrics, incentive={**MONEY, **incentive}, **spec)  # fmt: skip
    plan = rl.plan(path)
    return plan, rl.analyse_incentive(plan, rl.reduce_incentive(plan))


@pytest.mark.parametrize(
    "incentive",
    [
        {"strategy": "randomised", "cost": {"contact": 0.1, "redemption": 1}},
        {"strategy": "encouragement", "cost": {"contact": 0.1}},
        {"strategy": "dose", "dose": {"none": 0, "coupon": 5, "tiny": 10}},
        {"strategy": "observational", "covariates": ["x"]},
    ],
)
@pytest.mark.parametrize(("small", "min_cell"), [(3, 20), (19, 20), (60, 80)])
def test_nothing_is_told_of_an_arm_with_few_units(write, incentive, small, min_cell):
    plan, results = asked(write, shop(small=small), incentive, privacy={"min_cell": min_cell})
    rows = [r for r in results.rows if "tiny" in (r.arm, r.term)]
    assert rows
    for r in rows:
        assert (r.estimate, r.std_error, r.ci_low) == (None, None, None), r
        if r.n is not None:
            assert r.n >= min_cell
    assert any((r.note or "").startswith("suppressed: fewer than") for r in rows)
    assert f" {small} " not in " ".join(r.note or "" for r in rows)
    assert [r for r in results.rows if r.arm == "coupon" and r.estimate is not None]
    rl.decide_incentive(plan, results)


def test_bounds_under_full_uptake_are_those_of_the_arms_as_they_are(write):
    """Adjusted means and what is left of their covariances are not the parts of these bounds."""
    d = shop(n=6000)
    metrics = [METRICS[0], {**METRICS[1], "covariates": ["x"]}]
    said = {"strategy": "encouragement", "outcomes": ["bought"]}
    _, results = asked(write, d, said, metrics, inference={"alpha": 0.2})
    got = d["arm"] == "coupon"
    base = d["bought"][~got]
    late = results.one(estimand="late")
    assert "Lin" in late.method
    for term, limit, sign in (("lower", 0, -1), ("upper", 1, 1)):
        everyone = np.where(d["redeemed"][got] > 0, d["bought"][got], limit)
        row = results.one(estimand="full_uptake_bound", term=term)
        assert row.estimate == pytest.approx(everyone.mean() - base.mean(), abs=1e-12)
        error = np.sqrt(everyone.var() / len(everyone) + base.var(ddof=1) / len(base))
        end = row.ci_low if term == "lower" else row.ci_high
        # The bounds lie far apart, so that an end misses at alpha on its own side only.
        assert end == pytest.approx(row.estimate + sign * stats.norm.ppf(0.8) * error, rel=1e-5)


def test_first_stages_of_few_clusters_have_students_quantiles(write):
    d = shop(n=3000)
    rng = np.random.default_rng(4)
    d["arm"] = np.where(np.isin(d["store"], rng.permutation(12)[:6]), "coupon", "none")
    d["redeemed"] = np.where(d["arm"] == "coupon", rng.integers(0, 2, 3000), 0)
    said = {"strategy": "encouragement", "outcomes": ["bought"]}
    _, results = asked(write, d, said, design={**DESIGN, "cluster": "store"})
    row = results.one(estimand="first_stage")
    half = stats.t.ppf(0.975, 10) * row.std_error
    assert row.ci_high - row.estimate == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize(
    ("large", "code"), [(4, "unlike_clusters"), (1, "few_clusters"), (0, None)]
)
def test_a_ledger_does_not_rest_on_stores_that_only_one_arm_has(write, large, code):
    """Twelve stores an arm, of which some with the coupon are twenty times as large."""
    store = np.repeat(np.arange(24), np.where(np.arange(24) < large, 1200, 60))
    d = shop(n=len(store))
    d |= {"store": store, "arm": np.where(store < 12, "coupon", "none")}
    d["redeemed"] = np.where(d["arm"] == "coupon", d["redeemed"], 0)
    design = {**DESIGN, "cluster": "store"}
    dealt = {"strategy": "encouragement", "cost": {"contact": 0.1, "redemption": 1}}
    plan, results = asked(write, d, dealt, design=design)
    for estimand in ("incremental_profit", "margin_per_dollar", "roi", "late"):
        for row in results.where(estimand=estimand).rows:
            assert (row.note or "none").partition(":")[0] == (code or "none")
            assert (row.ci_low is None) == (code is not None)
            assert row.estimate is not None
    if code:
        assert rl.decide_incentive(plan, results).decision == "keep_running"


def test_a_control_that_cannot_redeem_is_not_said_to(write):
    """What it would have redeemed is 0 then, and not 0 but for the rounding of a fit."""
    d = shop()
    said = {"strategy": "observational", "covariates": ["x"],
            "cost": {"contact": 0.25, "redemption": 2}}  # fmt: skip
    _, results = asked(write, d, said)
    rate = d["redeemed"][d["arm"] == "coupon"].mean()
    for estimand, value in (("cost_redemption", 2 * rate), ("incremental_cost", 2 * rate + 0.25)):
        row = results.one(estimand=estimand)
        assert row.estimate == pytest.approx(value, rel=1e-12)
        assert row.note is None
    d["redeemed"][np.flatnonzero(d["arm"] == "none")[:50]] = 1
    _, results = asked(write, d, said)
    assert results.one(estimand="cost_redemption").note.startswith("control_redeems")


@pytest.mark.parametrize(
    "said",
    [
        {"strategy": "randomised"},
        {"strategy": "encouragement"},
        {"strategy": "observational", "covariates": ["x"]},
    ],
)
def test_the_steps_of_a_ledger_add_up(write, said):
    d = shop()
    d["returns"] = d["revenue"] * (np.arange(1500) % 5 == 0)
    metrics = [*METRICS, {"name": "returns", "kind": "mean"}]
    said = {**said, "returns": "returns", "cost": {"contact": 0.25, "redemption": 2}}
    _, results = asked(write, d, said, metrics)
    at = {e: results.one(estimand=e, term=None).estimate for e in (
        "incremental_revenue", "incremental_returns", "incremental_profit", "cost_contact",
        "cost_redemption")}  # fmt: skip
    assert at["incremental_returns"] != 0
    steps = 0.4 * (at["incremental_revenue"] - at["incremental_returns"])
    steps -= at["cost_contact"] + at["cost_redemption"]
    assert steps == pytest.approx(at["incremental_profit"], rel=1e-9)


def test_an_offer_that_nobody_redeemed_is_not_kept(write):
    """Sales rise fourfold, and no redemption is in the data: their cost would be nothing."""
    d = shop()
    d["revenue"] = d["revenue"] * np.where(d["arm"] == "coupon", 4, 1)
    d["redeemed"] = np.zeros(1500, int)
    plan, results = asked(
        write, d, {"strategy": "randomised", "cost": {"contact": 0.1, "redemption": 5}}
    )
    verdict = rl.decide_incentive(plan, results)
    assert verdict.decision == "keep_running"
    assert [r.code for r in verdict.reasons] == ["incentive_pays", "incentive_nobody_redeemed"]
    d["redeemed"][np.flatnonzero(d["arm"] == "none")[:50]] = 1
    plan, results = asked(write, d, {"strategy": "randomised", "cost": {"contact": 9.0}})
    told = {r.code: r for r in rl.decide_incentive(plan, results).reasons}
    share = 50 / (d["arm"] == "none").sum()
    assert told["incentive_control_redeemed"].numbers["rate"] == pytest.approx(share)


def test_a_ledger_of_few_clusters_is_as_unsure_as_their_effect(write):
    said = {"strategy": "observational", "covariates": ["x"], "cost": {"contact": 1}}
    _, results = asked(write, shop(), said, design={**DESIGN, "cluster": "store"})
    effect = results.one(estimand="average_effect_treated", metric="revenue")
    booked = results.one(estimand="incremental_revenue")
    assert booked.estimate == pytest.approx(effect.estimate, rel=1e-9)
    assert booked.ci_low == pytest.approx(effect.ci_low, rel=1e-6)
    assert booked.p_value == pytest.approx(effect.p_value, rel=1e-6)
    _, results = asked(write, shop(), said, design={**DESIGN, "cluster": "market"})
    assert results.one(estimand="incremental_profit").note.startswith("too_few_units")


def test_a_histogram_of_chances_shows_no_small_bin(write):
    d = shop(n=400)
    _, results = asked(write, d, {"strategy": "observational", "covariates": ["x"]})
    hidden = 0
    for arm in ("coupon", "none"):
        rows = results.where(estimand="propensity_share", arm=arm).rows
        left = round((1 - sum(r.estimate or 0.0 for r in rows)) * rows[0].n)
        hidden += left
        assert left == 0 or left >= 20
        for r in rows:
            count = 0 if r.estimate is None else r.estimate * r.n
            assert count == pytest.approx(0, abs=1e-9) or count > 19.5
            assert (r.estimate is None) == (r.note is not None)
    assert hidden > 0


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((0, 25, 40), (1, 1, 1)),
        ((3, 0, 30, 25), (0, 1, 1, 0)),  # the smallest of the others, or 3 is what is left
        ((12, 12, 30), (0, 0, 1)),
        ((7, 7, 30, 31), (0, 0, 0, 1)),
        ((5,), (0,)),
    ],
)
def test_what_is_hidden_is_not_what_is_left(counts, told):
    assert shown(np.array(counts), 20).tolist() == [bool(t) for t in told]


def test_a_refusal_counts_no_small_group():
    assert [few(n) for n in (0, 1, 19, 20, 1500)] == [
        "0", "fewer than 20", "fewer than 20", "20", "1,500"]  # fmt: skip


def test_limits_of_e_values_are_those_of_the_files_alpha(write):
    said = {"strategy": "observational", "covariates": ["x"]}
    for metric in ("revenue", "bought"):
        limits = []
        for alpha in (0.05, 0.4):
            _, results = asked(write, shop(n=4000), said, inference={"alpha": alpha})
            limits.append(results.one(estimand="e_value", metric=metric, term="limit").estimate)
        assert limits[0] < limits[1]


def test_arms_that_nobody_planned_are_not_held_against_a_plan(write):
    d = shop()
    d["arm"] = np.where(np.arange(1500) < 300, "coupon", "none")

    def checked(**incentive):
        path = write({"units": d}, data={"units": "units.parquet"}, design=DESIGN,
                     metrics=METRICS, incentive={**MONEY, **incentive})  # fmt: skip
        return rl.plan(path).checks

    assert [c.code for c in checked(strategy="randomised") if not c.ok] == ["split"]
    checks = checked(strategy="observational", covariates=["x"])
    assert all(c.ok for c in checks)
    assert not any("planned" in c.text for c in checks)


@pytest.mark.parametrize(
    "incentive",
    [
        {"strategy": "randomised", "cost": {"redemption": 1}},
        {"strategy": "encouragement", "cost": {"contact": 1}},
        {"strategy": "dose", "dose": {"none": 0, "coupon": 5, "tiny": 10}},
    ],
)
def test_saved_reductions_give_the_rows_of_the_units(write, tmp_path, incentive):
    plan, results = asked(write, shop(small=100), incentive)
    rl.reduce(plan).save(tmp_path / "moments.parquet")
    said = {"design": DESIGN, "metrics": METRICS}
    path = write(data={"moments": "moments.parquet"}, incentive={**MONEY, **incentive}, **said)
    again = rl.plan(path)
    assert rl.analyse_incentive(again, rl.reduce_incentive(again)) == results
    for more in ({"strategy": "observational", "covariates": ["x"]},):
        path = write(data={"moments": "moments.parquet"}, incentive={**MONEY, **more}, **said)
        with pytest.raises(PlanError, match="saved reductions hold none: give"):
            rl.plan(path)


def test_saved_reductions_without_what_a_ledger_needs_are_refused(write, tmp_path):
    path = write({"units": shop()}, data={"units": "units.parquet"}, design=DESIGN, metrics=METRICS)
    rl.reduce(rl.plan(path)).save(tmp_path / "moments.parquet")
    path = write(data={"moments": "moments.parquet"}, design=DESIGN, metrics=METRICS,
                 incentive={"strategy": "randomised", **MONEY})  # fmt: skip
    with pytest.raises(PlanError, match=r"saved reductions: .*'redeemed' is neither"):
        rl.plan(path)


def test_an_incentive_is_not_looked_at_every_day(write):
    for strategy in ("randomised", "encouragement"):
        with pytest.raises(PlanError, match="do not hold for looking every day"):
            asked(write, shop(), {"strategy": strategy}, inference={"sequential": True})


@pytest.mark.parametrize(("pull", "told"), [(0.5, False), (5.0, True)])
def test_a_control_of_few_that_are_alike_is_told(write, pull, told):
    """With odds of 1 to 99 and more, a dozen of the control stand for all who got it."""
    d = shop(n=1200)
    rng = np.random.default_rng(7)
    d["arm"] = np.where(rng.random(1200) < 1 / (1 + np.exp(-pull * d["x"])), "coupon", "none")
    d["redeemed"] = np.where(d["arm"] == "coupon", d["redeemed"], 0)
    said = {"strategy": "observational", "covariates": ["x"], "cost": {"contact": 1}}
    _, results = asked(write, d, said)
    for estimand in ("average_effect_treated", "incremental_profit"):
        row = results.one(estimand=estimand, metric="revenue")
        assert (row.note or "").startswith("few_alike") == told, row
