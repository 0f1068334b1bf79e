from __future__ import annotations

import dataclasses

import pytest

from retention_lab.twin import COMEBACK_COUPON, Arm
from retention_lab.twin.model import coupon_share, interpolate, root, solve, some


def level(model, multiplier=1.0, region=None):
    cells = [c for c in model.cells if region in (None, c.region.name)]
    total = sum(c.weight for c in cells)
    x = 30 * multiplier
    return sum(c.weight * some(COMEBACK_COUPON, c.scale * x) for c in cells) / total


def test_weights_sum_to_one():
    assert sum(c.weight for c in solve(COMEBACK_COUPON).cells) == pytest.approx(1, abs=1e-15)


def test_each_region_has_its_level_exactly():
    model = solve(COMEBACK_COUPON)
    for region in COMEBACK_COUPON.regions:
        assert level(model, region=region.name) == pytest.approx(region.repurchase_30d, abs=1e-14)


@pytest.mark.parametrize("arm", COMEBACK_COUPON.arms, ids=lambda a: a.name)
def test_a_factor_gives_the_stated_lift_exactly(arm):
    model = solve(COMEBACK_COUPON)
    change = level(model, model.factors[arm.name]) - level(model)
    assert change == pytest.approx(arm.lift, abs=1e-14)


def test_a_harmful_arm_has_a_factor_below_one():
    arms = (Arm("a"), Arm("b", lift=-0.05))
    assert 0 < solve(dataclasses.replace(COMEBACK_COUPON, arms=arms)).factors["b"] < 1


def test_the_effect_ends():
    model = solve(dataclasses.replace(COMEBACK_COUPON, effect_days=10))
    days, none = model.paths["none"]
    _, c10 = model.paths["c10"]
    at = {d: (a, b) for d, a, b in zip(days, none, c10, strict=True)}
    assert days == (0, 10, 30, 90, 180)
    assert at[10][1] / at[10][0] == pytest.approx(model.factors["c10"])
    assert at[180][1] - at[10][1] == pytest.approx(at[180][0] - at[10][0])


def test_pace_slows_down():
    days, heights = solve(COMEBACK_COUPON).paths["none"]
    assert (days, heights) == ((0, 30, 90, 180), (0, 30, 60, 82.5))


def test_some_is_right_for_tiny_rates():
    assert some(COMEBACK_COUPON, 1e-18) == pytest.approx(0.8e-18, rel=1e-12)


def test_no_coupon_is_used_where_there_is_none():
    arm, region = COMEBACK_COUPON.arm("none"), COMEBACK_COUPON.regions[0]
    assert coupon_share(COMEBACK_COUPON, arm, region) == 0


def test_a_coupon_without_minimum_is_used_by_all_who_remember():
    arm = Arm("c", coupon=5, min_spend=1e-12, redeemed=0.7)
    share = coupon_share(COMEBACK_COUPON, arm, COMEBACK_COUPON.regions[0])
    assert share == pytest.approx(0.7, abs=1e-12)


def test_interpolation_and_its_limits():
    assert interpolate(15, (0, 30, 90), (0, 30, 60)) == 15
    assert interpolate(60, (0, 30, 90), (0, 30, 60)) == 45
    assert interpolate(90, (0, 30, 90), (0, 30, 60)) == 60
    with pytest.raises(ValueError, match="91 days"):
        interpolate(91, (0, 30, 90), (0, 30, 60))


def test_roots_to_the_last_digit():
    assert root(lambda x: x * x - 2) == pytest.approx(2**0.5, rel=1e-14)
