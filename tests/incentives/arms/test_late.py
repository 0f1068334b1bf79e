"""The effect on redeemers: two-stage least squares on rows, and the test that the set inverts."""

from __future__ import annotations

import numpy as np
import pytest
from arm_rows import moments_of

from retention_lab.incentives.arms.late import full_uptake, late
from retention_lab.incentives.arms.means import Contrast, Means, contrast


def rows(n=3000, seed=2, uptake=0.3, effect=4.0, leak=0.0):
    rng = np.random.default_rng(seed)
    z = rng.random(n) < 0.5
    keen = rng.random(n)
    d = np.where(z, keen < uptake, keen < leak).astype(float)
    x = rng.normal(size=n)
    y = 10 + 3 * (keen < uptake) + x + effect * d + rng.normal(size=n) * (1 + z)
    return {"arm": np.where(z, "b", "a"), "y": y, "d": d, "x": x}


def found_of(r, covariates=()):
    m = moments_of({"arm": r["arm"]}, {k: r[k] for k in ("y", "d", "x")})
    return contrast(m, 1, 0, ("y", "d"), covariates)


def test_it_is_two_stage_least_squares_with_robust_errors():
    """beta = (Z'X)^-1 Z'y; sandwich with HC2 weights, which are exactly the arms' variances."""
    r = rows()
    found = late(found_of(r))
    z = np.column_stack([np.ones(len(r["y"])), r["arm"] == "b"]).astype(float)
    x = np.column_stack([np.ones(len(r["y"])), r["d"]])
    inverse = np.linalg.inv(z.T @ x)
    beta = inverse @ (z.T @ r["y"])
    u = r["y"] - x @ beta
    leverage = np.einsum("ij,jk,ik->i", z, np.linalg.inv(z.T @ z), z)
    middle = (z * (u**2 / (1 - leverage))[:, None]).T @ z
    error = np.sqrt((inverse @ middle @ inverse.T)[1, 1])
    assert found.estimate == pytest.approx(beta[1], rel=1e-10)
    assert found.std_error == pytest.approx(error, rel=1e-10)
    assert found.strength == pytest.approx((found.first_stage / found.first_stage_error) ** 2)
    assert found.region.low < 4.0 < found.region.high


def test_the_set_is_what_the_difference_of_y_less_b_d_does_not_reject():
    r = rows(n=400, uptake=0.2)
    region = late(found_of(r)).region
    b = r["arm"] == "b"
    for end in (region.low, region.high):
        y = r["y"] - end * r["d"]
        error = np.sqrt(y[b].var(ddof=1) / b.sum() + y[~b].var(ddof=1) / (~b).sum())
        assert abs(y[b].mean() - y[~b].mean()) / error == pytest.approx(1.959964, rel=1e-6)


def test_covariates_make_it_more_precise():
    r = rows(n=2000)
    assert late(found_of(r, ("x",))).std_error < late(found_of(r)).std_error


def test_a_weak_offer_is_said_to_be_one():
    shapes = set()
    for seed in range(40):
        found = late(found_of(rows(n=200, seed=seed, uptake=0.05, leak=0.035)))
        if found.region is None:
            assert found.note.startswith("nobody_redeems")
            continue
        shapes.add(found.region.shape)
        code = found.note.split(":")[0] if found.note else None
        expected = {"everything": "ar_unbounded", "outside": "ar_disjoint"}
        assert code == expected.get(found.region.shape, "weak_instrument")
    assert {"everything", "outside"} <= shapes


def test_nobody_everybody_and_too_few():
    nobody = late(found_of(rows(uptake=0.0)))
    assert (nobody.estimate, nobody.note.split(":")[0]) == (None, "nobody_redeems")
    everybody = late(found_of(rows(uptake=1.0)))
    assert everybody.note.startswith("everybody_redeems")
    itt = found_of(rows(uptake=1.0)).difference[0]
    assert everybody.estimate == pytest.approx(itt)
    few = late(found_of(rows(n=40)))
    assert few.std_error is None
    assert few.note.startswith("too_few_units")


def test_bounds_of_full_uptake_hold_the_truth_and_meet_where_everyone_redeems():
    rng = np.random.default_rng(8)
    n = 200_000
    z, keen = rng.random(n) < 0.5, rng.random(n)
    d = (z & (keen < 0.4)).astype(float)
    would = rng.random(n)
    y0, y1 = would < 0.2, would < np.where(keen < 0.4, 0.5, 0.3)
    y = np.where(d > 0, y1, y0).astype(float)
    m = moments_of({"arm": np.where(z, "b", "a")}, {"y": y, "d": d})
    found = full_uptake(contrast(m, 1, 0, ("y", "d")))
    truth = y1.mean() - y0.mean()
    assert found.low < truth < found.high
    assert found.ci_low < found.low < found.high < found.ci_high
    # From the rows: redeemers as they are, the others at 0 or at 1.
    b = z
    for end, limit in ((found.low, 0.0), (found.high, 1.0)):
        everyone = np.where(d[b] > 0, y[b], limit).mean()
        assert end == pytest.approx(everyone - y[~b].mean(), abs=1e-12)
    leak = moments_of({"arm": np.where(z, "b", "a")}, {"y": y, "d": (keen < 0.4).astype(float)})
    assert full_uptake(contrast(leak, 1, 0, ("y", "d"))) is None


def simulate(runs, n, uptake, effect, seed):
    """Shares of runs in which the set holds the effect, and in which no effect is rejected."""
    rng = np.random.default_rng(seed)
    held = rejected = 0
    for _ in range(runs):
        means = []
        for share in (uptake, 0.0):
            keen = rng.random(n) < uptake
            d = (keen & (share > 0)).astype(float)
            y = 2.0 * keen + effect * d + rng.standard_exponential(n)
            v = np.stack([y, d])
            means.append(Means(v.mean(axis=1), np.cov(v) / n, n, n))
        zero = np.zeros((2, 2))
        found = late(Contrast(*means, zero, zero, zero))
        held += found.region is None or found.region.holds(effect)
        rejected += found.p_value is not None and found.p_value < 0.05
    return held / runs, rejected / runs


@pytest.mark.parametrize("uptake", [0.02, 0.3])
def test_the_set_covers_also_where_the_offer_is_weak(uptake):
    held, _ = simulate(600, 300, uptake, 1.5, seed=5)
    assert abs(held - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 600)


def test_what_does_not_vary_has_no_interval():
    """Nobody bought, or whether one bought is whether one redeemed: no error, and none is made."""
    r = rows()
    for y, value in ((np.zeros(3000), 0.0), (r["d"], 1.0)):
        found = late(found_of({**r, "y": y}))
        assert found.estimate == pytest.approx(value)
        assert (found.std_error, found.region, found.p_value) == (None, None, None)
        assert found.note.startswith("zero_variance")
    everybody = late(found_of(rows(uptake=1.0)))
    assert (everybody.first_stage, everybody.first_stage_error) == (1.0, None)
    assert everybody.std_error is not None
