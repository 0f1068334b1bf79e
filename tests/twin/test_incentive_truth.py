"""Redeemers, doses and orders that are only moved: closed forms against integrals and draws."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
import yaml
from shop_files import EXPERIMENTS
from shop_outcomes import SECOND, micros, outcomes, words, z

import retention_lab as rl
from retention_lab.experiment.load import load
from retention_lab.twin import (
    COUPON_DOSE,
    FORWARD_COUPON,
    REDEEMED_COUPON,
    Arm,
    Scenario,
    simulate,
    truth_of,
)
from retention_lab.twin.incentive import dose_of, late_of, profit_of, weekly_of
from retention_lab.twin.model import interpolate, solve

LIMIT = 4.5  # standard errors
FILES = {"redeemed-coupon": REDEEMED_COUPON, "coupon-dose": COUPON_DOSE}
ALWAYS = dataclasses.replace(REDEEMED_COUPON, customers=120_000, always=0.1)


def weekly(shop, weeks=12):
    """Orders of each customer in each week since the exposure, customers x weeks."""
    assigned, orders = shop.tables["assignments"], shop.tables["orders"]
    ids = words(assigned["customer_id"])
    order = np.argsort(ids)
    who = order[np.searchsorted(ids[order], words(orders["customer_id"]))]
    since = micros(orders["ordered_at"]) - micros(assigned["assigned_at"])[who]
    span = 7 * 86_400 * SECOND
    inside = (since > 0) & (since <= weeks * span)
    found = np.zeros((len(ids), weeks))
    np.add.at(found, (who[inside], (since[inside] - 1) // span), 1.0)
    return words(assigned["arm"]), found


def test_the_effect_on_redeemers_is_the_integral_over_those_who_redeem():
    s, arm = ALWAYS, ALWAYS.arms[1]
    model = solve(s)
    found = dict.fromkeys(("repurchase", "orders"), 0.0)
    keen = [c for c in model.cells if c.keen]
    for c in keen:
        rates = scipy.stats.gamma(s.evenness, scale=c.scale)
        on, off = (interpolate(30, *model.paths[a]) for a in ("offer", "none"))
        w = c.weight / sum(k.weight for k in keen)
        found["repurchase"] += w * rates.expect(
            lambda r, a=off, b=on: np.exp(-r * a) - np.exp(-r * b)
        )
        found["orders"] += w * rates.mean() * (on - off)
    truth = late_of(s)["offer"]
    for metric, value in found.items():
        assert truth[f"{metric}_30d"] == pytest.approx(value, rel=1e-7)
    assert truth_of(s).difference("repurchase_30d", "offer") == pytest.approx(arm.lift, abs=1e-12)
    assert sum(k.weight for k in keen) == pytest.approx(0.1 + 0.35)


def test_every_region_keeps_its_level_with_keen_customers():
    for region in ALWAYS.regions:
        level = truth_of(ALWAYS).mean("repurchase_30d", "none", region=region.name)
        assert level == pytest.approx(region.repurchase_30d, abs=1e-12)


def test_redeemers_in_the_tables_are_those_of_the_truth():
    shop, truth = simulate(ALWAYS, seed=1), truth_of(ALWAYS)
    found = outcomes(shop)
    redeemed = shop.tables["assignments"]["redeemed"].to_numpy().astype(float)
    for arm in truth.arms:
        mine = found.mature & (found.arm == arm)
        assert abs(z(redeemed[mine], truth.mean("redeemed", arm))) < LIMIT
        for metric, values in found.values.items():
            if values[mine].any():
                assert abs(z(values[mine], truth.mean(metric, arm))) < LIMIT, (arm, metric)
    # Redeemers order more anyway: comparing them with the others would say far too much.
    offered = found.arm == "offer"
    orders = found.values["orders_30d"]
    naive = orders[offered & (redeemed == 1)].mean() - orders[offered & (redeemed == 0)].mean()
    assert naive > 1.15 * late_of(ALWAYS)["offer"]["orders_30d"]


def test_who_does_not_redeem_is_as_without_an_offer():
    """The same seed with and without an effect: only those who redeem because of it differ."""
    arms = (ALWAYS.arms[0], dataclasses.replace(ALWAYS.arms[1], lift=0.0, forward=0.0))
    small = dataclasses.replace(ALWAYS, customers=3_000)
    moved = simulate(small, seed=2)
    plain = simulate(dataclasses.replace(small, arms=arms), seed=2)
    where = moved.tables["assignments"]["redeemed"].to_numpy() == 0
    assert moved.tables["assignments"].equals(plain.tables["assignments"])
    arm, orders = weekly(moved)
    _, without = weekly(plain)
    assert np.corrcoef(orders[where].sum(1), without[where].sum(1))[0, 1] < 1  # other draws of time
    both = [x[where & (arm == "offer")].sum(1) for x in (orders, without)]
    assert abs(both[0].mean() - both[1].mean()) < LIMIT * both[0].std() / len(both[0]) ** 0.5


@pytest.mark.parametrize("scenario", [FORWARD_COUPON, REDEEMED_COUPON], ids=lambda s: s.name)
def test_weekly_orders_are_those_of_the_tables(scenario):
    scenario = dataclasses.replace(scenario, customers=150_000)
    arm, orders = weekly(simulate(scenario, seed=3))
    base, other = (a.name for a in scenario.arms)
    a, b = orders[arm == other], orders[arm == base]
    error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
    scores = (a.mean(0) - b.mean(0) - weekly_of(scenario)[other]) / error
    assert np.abs(scores).max() < LIMIT, scores


def test_what_is_pulled_forward_adds_up_to_nothing():
    found = weekly_of(FORWARD_COUPON)["c10"]
    assert sum(found) == pytest.approx(0.0, abs=1e-14)
    assert min(found[:4]) > 0 > max(found[4:9])
    assert found[9:] == pytest.approx([0, 0, 0], abs=1e-14)
    part = weekly_of(REDEEMED_COUPON)["offer"]
    model = solve(REDEEMED_COUPON)
    (days, on), (_, off) = (model.paths[a] for a in ("offer", "none"))
    early = interpolate(30, days, on) - 30.0
    gone = early - (on[-1] - off[-1])
    assert gone == pytest.approx(0.3 * early)
    assert sum(part) > 0


def test_profit_rises_and_falls_with_the_dose():
    truth = dose_of(COUPON_DOSE)
    expected = truth_of(COUPON_DOSE)
    for arm in COUPON_DOSE.arms:
        at = f"{arm.coupon:g}"
        assert truth["profit"][at] == pytest.approx(expected.difference("margin_30d", arm.name))
        assert truth["repurchase"][at] == pytest.approx(expected.mean("repurchase_30d", arm.name))
    assert 12 < truth["best"] < 16

    def profit(dollars):
        arm = dataclasses.replace(COUPON_DOSE.response.arm(dollars), name="x")
        only = dataclasses.replace(COUPON_DOSE, arms=(COUPON_DOSE.arms[0], arm))
        return profit_of(only, "x")["profit"]

    grid = np.arange(11, 18, 0.25)
    assert abs(grid[np.argmax([profit(d) for d in grid])] - truth["best"]) <= 0.25
    gains = np.diff(list(truth["repurchase"].values())) / np.diff([0, 4, 8, 12, 16, 24])
    assert (np.diff(gains) < 0).all()  # each dollar does less


def test_the_truth_is_written_beside_the_tables(tmp_path):
    few = {"customers": 200}
    for scenario, keys in ((REDEEMED_COUPON, {"late", "weekly_orders"}), (COUPON_DOSE, {"dose"}),
                           (FORWARD_COUPON, {"weekly_orders"})):  # fmt: skip
        folder = simulate(dataclasses.replace(scenario, **few)).write(tmp_path / scenario.name)
        said = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        assert {"late", "dose", "weekly_orders"} & set(said) == keys


@pytest.mark.parametrize(
    ("arm", "changed", "fault"),
    [
        (Arm("b", lift=0.2, forward=1.0, forward_days=7), {}, "pulls more orders forward"),
        (Arm("b", forward=1.5), {}, "forward lies between 0 and 1"),
        (Arm("b", forward=0.5, forward_days=200), {}, "forward_days must lie within pace"),
        (Arm("b", uptake=0.9), {"always": 0.2}, "uptake and always must leave a share"),
        (Arm("b"), {"always": 0.2}, "uptake and always must leave a share"),
        (Arm("b", uptake=0.5), {"keen": 0.0}, "keen must be above 0"),
    ],
)
def test_what_makes_no_shop_is_refused(arm, changed, fault):
    with pytest.raises(ValueError, match=fault):
        simulate(Scenario(name="s", arms=(Arm("a"), arm), customers=10, **changed))


@pytest.mark.parametrize("name", FILES)
def test_the_files_fit_their_shops_and_every_word_is_translated(name):
    spec, scenario = load(EXPERIMENTS / f"{name}.yaml"), FILES[name]
    assert spec.data.as_of == scenario.as_of
    assert set(spec.design.expected_split) == {a.name for a in scenario.arms}
    assert str(scenario.seed) in (EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"{scenario.start:%Y%m%d}" == str(scenario.seed)
    assert spec.incentive.margin == scenario.margin
    wanted = {spec.family, *(a.name for a in scenario.arms), *(m.name for m in spec.metrics)}
    wanted |= {spec.incentive.pull_forward.event} if spec.incentive.pull_forward else set()
    assert set(spec.report.labels) == wanted
    for text in (*spec.report.labels.values(), spec.title, spec.question):
        assert text.en
        assert text.zh
        assert text.zh != text.en


def test_the_files_say_what_the_shop_is(tmp_path):
    for name, scenario in FILES.items():
        raw = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))
        dose = {a.name: a.coupon for a in scenario.arms}
        if name == "coupon-dose":
            assert raw["incentive"]["dose"] == dose
        else:
            assert raw["incentive"]["cost"]["redemption"] == scenario.arms[1].credit


@pytest.mark.parametrize("name", FILES)
def test_the_files_find_the_truth(name):
    """Within 4.5 standard errors: one shop, so this is no coverage test."""
    scenario = FILES[name]
    plan = rl.plan(EXPERIMENTS / f"{name}.yaml")
    assert all(check.ok for check in plan.checks)
    results = rl.analyse_incentive(plan, rl.reduce_incentive(plan))

    def near(row, value):
        assert abs(row.estimate - value) < LIMIT * row.std_error, (row, value)

    if name == "coupon-dose":
        truth = dose_of(scenario)
        for at, value in truth["repurchase"].items():
            near(results.one(estimand="dose_mean", metric="repurchase_30d", at=at), value)
        best = results.one(estimand="best_dose")
        assert best.ci_low < truth["best"] < best.ci_high
        assert rl.decide_incentive(plan, results).decision == "ship"
        return
    truth = late_of(scenario, 84)["offer"]
    for metric in ("orders_84d", "repurchase_84d", "revenue_84d"):
        near(results.one(estimand="late", metric=metric), truth[metric])
    for week, value in enumerate(weekly_of(scenario)["offer"], 1):
        near(results.one(estimand="weekly_effect", at=str(week)), value)
    near(
        results.one(estimand="incremental_profit"), profit_of(scenario, "offer", 84, 0.01)["profit"]
    )
    back = results.one(estimand="pull_forward")
    assert back.p_value < 0.01
    verdict = rl.decide_incentive(plan, results)
    assert verdict.decision != "ship"
    assert verdict.reasons[-1].code == "incentive_partly_pulled"
