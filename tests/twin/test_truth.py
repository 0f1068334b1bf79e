"""The closed form against numerical integration, and the draws against the closed form.

Integration shows that the formulas are right to ten digits; simulations show that the tables
follow the model, in standard errors of the simulation. Seeds are fixed, so these tests are
deterministic. The limit of 4.5 standard errors is passed by right draws with probability 0.9997
in fifty checks; with 150,000 customers it catches levels that are off by some 4%, and the slow
test, with its thousand seeds, those that are off by some 0.4%.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats
from shop_outcomes import outcomes, z, z_scores

from retention_lab.twin import AA, COMEBACK_COUPON, Arm, simulate, truth_of
from retention_lab.twin.model import solve

LIMIT = 4.5
LARGE = dataclasses.replace(COMEBACK_COUPON, customers=150_000)


def test_the_stated_effects():
    truth = truth_of(COMEBACK_COUPON)
    assert truth.difference("repurchase_30d", "c10") == pytest.approx(0.030, abs=1e-12)
    assert truth.difference("repurchase_30d", "c20") == pytest.approx(0.033, abs=1e-12)
    assert truth.difference("unsubscribed_30d", "c10") == pytest.approx(0.0005, abs=1e-12)
    assert truth.difference("unsubscribed_30d", "c20") == pytest.approx(0.0120, abs=1e-12)


def test_twenty_dollars_bring_more_orders_and_earn_less():
    truth = truth_of(COMEBACK_COUPON)
    orders = [truth.difference("orders_30d", arm) for arm in ("c10", "c20")]
    margin = [truth.difference("margin_30d", arm) for arm in ("c10", "c20")]
    assert 0 < orders[0] < orders[1]
    assert margin[0] > margin[1] > 0


@pytest.mark.parametrize("within", [7, 30, 100])
@pytest.mark.parametrize("arm", COMEBACK_COUPON.arms, ids=lambda a: a.name)
def test_the_closed_form_is_the_integral_over_customers(within, arm):
    """Rates by numerical integration, pace by adding up days, order values by integration."""
    s = dataclasses.replace(COMEBACK_COUPON, effect_days=20)
    pace = dict.fromkeys(range(30), 1.0) | dict.fromkeys(range(30, 90), 0.5)
    pace |= dict.fromkeys(range(90, 180), 0.25)
    boost = solve(s).factors[arm.name]
    x_effect = sum(boost * pace[d] for d in range(min(within, 20)))
    x = x_effect + sum(pace[d] for d in range(20, within))
    spread = np.hypot(s.spend_between, s.spend_within)
    expected = dict.fromkeys(("repurchase", "orders", "revenue", "coupons"), 0.0)
    for cell in solve(s).cells:
        rates = scipy.stats.gamma(s.evenness, scale=cell.scale)
        value = cell.region.order_value
        values = scipy.stats.lognorm(spread, scale=value * arm.basket * np.exp(-(spread**2) / 2))
        mean_rate = rates.mean()
        bought = 1 - rates.expect(lambda rate: np.exp(-rate * x))
        in_effect = 1 - rates.expect(lambda rate: np.exp(-rate * x_effect))
        expected["repurchase"] += cell.weight * bought
        expected["orders"] += cell.weight * mean_rate * x
        worth = values.mean() * x_effect + value * (x - x_effect)
        expected["revenue"] += cell.weight * mean_rate * worth
        used = in_effect * values.sf(arm.min_spend) * arm.redeemed * (arm.coupon > 0)
        expected["coupons"] += cell.weight * used
    expected["margin"] = s.margin * expected["revenue"] - arm.coupon * expected["coupons"]
    truth = truth_of(s, within)
    for metric, number in expected.items():
        assert truth.mean(f"{metric}_{within}d", arm.name) == pytest.approx(number, rel=1e-7)
    order_value = expected["revenue"] / expected["orders"]
    assert truth.mean("order_value", arm.name) == pytest.approx(order_value, rel=1e-7)


@pytest.mark.parametrize("within", [7, 30])
def test_a_large_simulation_has_the_means_of_the_closed_form(within):
    scores = z_scores(LARGE, seed=11, within=within)
    assert len(scores) == 20  # seven metrics in three arms, but no coupons in control
    assert max(abs(s) for s in scores.values()) < LIMIT, scores


def test_strong_effects_that_end_before_the_window():
    strong = Arm("strong", lift=0.2, basket=1.5, unsubscribes=0.1, coupon=30, redeemed=0.2)
    arms = (Arm("none"), strong)
    short = dataclasses.replace(LARGE, arms=arms, effect_days=10, enrol_days=3)
    scores = z_scores(short, seed=12, within=45)
    assert len(scores) == 13
    assert max(abs(s) for s in scores.values()) < LIMIT, scores


def test_levels_of_region_and_promotion():
    truth = truth_of(LARGE)
    found = outcomes(simulate(LARGE, seed=13))
    scores = {}
    for name, column in (("region", found.region), ("promotion_acquired", found.acquired)):
        for level in np.unique(column):
            for arm in truth.arms:
                mine = found.mature & (found.arm == arm) & (column == level)
                for metric in ("repurchase_30d", "revenue_30d"):
                    value = level.item()
                    expected = truth.mean(metric, arm, **{name: value})
                    scores[name, value, arm, metric] = z(found.values[metric][mine], expected)
    assert len(scores) == 8 * 3 * 2
    assert max(abs(s) for s in scores.values()) < LIMIT, scores


def test_mature_and_immature_do_not_differ_beforehand():
    found = outcomes(simulate(LARGE, seed=14), within=14)
    days = found.values["repurchase_14d"]
    early = outcomes(simulate(LARGE, seed=14), within=30).mature & found.mature
    late = found.mature & ~early
    se = np.sqrt(days[early].var() / early.sum() + days[late].var() / late.sum())
    assert abs(days[early].mean() - days[late].mean()) < LIMIT * se


def test_aa_has_no_effect():
    truth = truth_of(AA)
    for metric in truth.metrics:
        assert truth.difference(metric, "variant") == 0
        assert truth.mean(metric, "variant") == truth.mean(metric, "control")


def test_a_lift_over_nothing_is_none():
    truth = truth_of(COMEBACK_COUPON)
    assert truth.relative_lift("coupons_30d", "c10") is None
    assert truth.relative_lift("repurchase_30d", "c10") == pytest.approx(0.030 / 0.22283)


def test_plain_values_for_the_file():
    plain = truth_of(COMEBACK_COUPON).as_dict()
    assert plain["control"] == "none"
    assert plain["overall"]["c10"]["repurchase_30d"]["difference"] == pytest.approx(0.030)
    assert set(plain["segments"]) == {"region", "promotion_acquired"}
    assert set(plain["segments"]["promotion_acquired"]) == {"false", "true"}
    africa = plain["segments"]["region"]["Africa"]["none"]
    assert africa["repurchase_30d"]["mean"] == pytest.approx(0.09)


def test_no_level_without_customers():
    truth = truth_of(dataclasses.replace(AA, promotion_share=0.0))
    with pytest.raises(KeyError):
        truth.mean("orders_30d", "control", promotion_acquired=True)
    assert truth.mean("orders_30d", "control", promotion_acquired=False) > 0


def test_a_window_beyond_the_horizon_is_refused():
    with pytest.raises(ValueError, match="180 days"):
        truth_of(COMEBACK_COUPON, within=181)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_intervals_cover_the_truth_as_often_as_they_say():
    """1,000 seeds; the share of |z| < 1.96 within 4.5 Monte-Carlo standard errors of 95%."""
    seeds = 1_000
    small = dataclasses.replace(COMEBACK_COUPON, customers=20_000)
    all_scores = [z_scores(small, seed) for seed in range(seeds)]
    limit = LIMIT * np.sqrt(0.95 * 0.05 / seeds)
    for key in all_scores[0]:
        inside = np.mean([abs(scores[key]) < 1.96 for scores in all_scores])
        assert abs(inside - 0.95) < limit, (key, inside)
        if key[1] == "repurchase_30d":  # hardly skewed, so the mean score is 0
            middle = np.mean([scores[key] for scores in all_scores])
            assert abs(middle) < LIMIT / np.sqrt(seeds), (key, middle)
