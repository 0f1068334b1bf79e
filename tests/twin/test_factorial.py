"""True main effects and interactions against arithmetic by hand."""

from __future__ import annotations

import dataclasses
import json

import pytest

from retention_lab.ab.further import effects
from retention_lab.twin import COUPON_AND_RETURNS, Factor, effects_of, simulate, truth_of

COUPON, RETURNS = "coupon: $10 off", "returns: free returns"
BOTH = f"{COUPON}, {RETURNS}"


def test_the_stated_effects_on_repurchase():
    """Lifts 2.4, 2.0 and 2.7 points: (2.4 + 0.7) / 2, (2.0 + 0.3) / 2 and 2.7 - 2.4 - 2.0."""
    found = effects_of(COUPON_AND_RETURNS)["repurchase_30d"]
    assert found == pytest.approx({COUPON: 0.0155, RETURNS: 0.0115, BOTH: -0.017}, abs=1e-12)


def test_together_they_earn_less_than_the_coupon_alone():
    truth = truth_of(COUPON_AND_RETURNS)
    c10, free, both = (truth.difference("margin_30d", a) for a in ("c10", "free", "c10_free"))
    assert 0 < free < both < c10
    found = effects_of(COUPON_AND_RETURNS)["margin_30d"]
    assert found[BOTH] == pytest.approx(both - c10 - free)
    assert found[COUPON] == pytest.approx((c10 + both - free) / 2)


def test_the_lab_and_the_twin_mean_the_same_by_every_term():
    """The contrasts of the analysis, applied to the true means."""
    arms = [a.name for a in COUPON_AND_RETURNS.arms]
    factors = {f.name: dict(zip(arms, f.levels, strict=True)) for f in COUPON_AND_RETURNS.factors}
    truth = truth_of(COUPON_AND_RETURNS)
    for metric, found in effects_of(COUPON_AND_RETURNS).items():
        by_lab = {
            term: sum(w * truth.mean(metric, arm) for arm, w in weights.items())
            for term, weights in effects(factors, "none")
        }
        assert found == pytest.approx(by_lab, abs=1e-12)


def test_the_truth_is_written_beside_the_data(tmp_path):
    shop = simulate(dataclasses.replace(COUPON_AND_RETURNS, customers=50))
    truth = json.loads((shop.write(tmp_path) / "truth.json").read_text(encoding="utf-8"))
    assert truth["factors"]["repurchase_30d"][BOTH] == pytest.approx(-0.017)


def test_a_fee_is_taken_from_the_margin_of_every_order_while_the_effect_lasts():
    arms = (COUPON_AND_RETURNS.arms[0], dataclasses.replace(COUPON_AND_RETURNS.arm("free"), fee=0))
    free = dataclasses.replace(COUPON_AND_RETURNS, arms=arms, factors=())
    dear = dataclasses.replace(free, arms=(arms[0], dataclasses.replace(arms[1], fee=3.0)))
    lost = truth_of(free).mean("margin_30d", "free") - truth_of(dear).mean("margin_30d", "free")
    assert lost == pytest.approx(3.0 * truth_of(free).mean("orders_30d", "free"))
    short = (dataclasses.replace(s, effect_days=10) for s in (free, dear))
    a, b = (truth_of(s, 30).mean("margin_30d", "free") for s in short)
    within = truth_of(dataclasses.replace(dear, effect_days=10), 10).mean("orders_10d", "free")
    assert a - b == pytest.approx(3.0 * within)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factors": (Factor("coupon", ("no", "yes")),)}, "a level for every arm"),
        ({"factors": COUPON_AND_RETURNS.factors[:1] * 2}, "factors need different names"),
        ({"silence": (0, 10)}, "silence goes from"),
        ({"silence": (40, 30)}, "silence goes from"),
    ],
)
def test_factors_and_silence_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(COUPON_AND_RETURNS, **change)
