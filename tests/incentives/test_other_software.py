"""Small, nasty data sets against the numbers that other software has of them (see their source)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from retention_lab.incentives.arms.late import late
from retention_lab.incentives.arms.means import Contrast, Means
from retention_lab.incentives.observed.sensitivity import benchmark, regress, robustness_value
from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.staggered import group_time_effects
from retention_lab.incentives.rollout.synthetic import synthetic_difference
from retention_lab.incentives.threshold.density import density_test
from retention_lab.incentives.threshold.measure import measure

SAID = json.loads((Path(__file__).parents[1] / "golden" / "other_software.json").read_text())
AVERAGES = {"simple": "simple", "dynamic": "dynamic", "group": "groups", "calendar": "calendar"}


@pytest.mark.parametrize("case", SAID["threshold"])
def test_a_jump_is_rdrobusts(case):
    """Whole numbers with ties, sides of unequal size and tails without a variance, yes or no."""
    said = SAID["threshold"][case]
    found = measure(np.array(said["x"]), np.array(said["y"]), 0.0).jump
    three = (found.conventional, found.bias_corrected, found.robust)
    assert [e.value for e in three] == pytest.approx(said["coef"], rel=1e-8)
    assert [e.error for e in three] == pytest.approx(said["se"], rel=1e-8)
    assert [found.h, found.b] == pytest.approx([said["h"], said["b"]], rel=1e-8)
    assert list(found.n) == said["n_h"]


@pytest.mark.parametrize("case", SAID["threshold"])
def test_a_density_is_rddensitys(case):
    said = SAID["threshold"][case]
    found, want = density_test(np.array(said["x"]), 0.0), said["density"]
    assert [found.left, found.right] == pytest.approx([want["left"], want["right"]], rel=1e-7)
    assert found.statistic == pytest.approx(want["t"], rel=1e-7)
    assert found.widths == pytest.approx(want["widths"], rel=1e-7)


@pytest.mark.parametrize("controls", ["never", "not_yet"])
def test_a_rollout_is_csdids(controls):
    """Whole numbers with heavy tails, groups of 4, 13 and 6, unequal weights and a covariate."""
    said = SAID["rollout"]
    start = np.array(said["start"], float)
    adopted = np.where(start == 0, np.inf, start - 1)
    w, x, want = np.array(said["w"]), np.array(said["x"])[:, None], said["variants"][controls]
    cells = group_time_effects(np.array(said["y"]), adopted, w, x, controls)
    assert cells.att == pytest.approx(want["att"], rel=1e-8, abs=1e-9)
    errors = np.sqrt((cells.influence**2).sum(axis=1)) / len(adopted)
    assert errors == pytest.approx(want["se"], rel=1e-8)
    averager = Averager(cells, adopted, w)
    for name, how in AVERAGES.items():
        found, of = getattr(averager, how)(), want[name]
        assert [found.overall.estimate] == pytest.approx(of["att"], rel=1e-8)
        assert [found.overall.std_error] == pytest.approx(of["se"], rel=1e-8)
        if of["parts"] is not None:
            assert [p.estimate for p in found.parts] == pytest.approx(of["parts"], rel=1e-8)
            assert [p.std_error for p in found.parts] == pytest.approx(of["parts_se"], rel=1e-8)


def arms_of(y, d, z):
    def mean(side):
        both = np.column_stack([y, d])[z == side]
        n = len(both)
        return Means(both.mean(axis=0), np.cov(both.T) / n, n, n)

    zero = np.zeros((2, 2))
    return Contrast(mean(1), mean(0), zero, zero, zero)


@pytest.mark.parametrize("case", SAID["encouragement"])
@pytest.mark.parametrize("scale", [1.0, 1e12, 1e-9])
def test_an_effect_on_redeemers_is_linearmodels_with_the_set_of_statsmodels(case, scale):
    """Arms of unequal size, a control that redeems, a set of two rays, revenue mostly 0."""
    said = SAID["encouragement"][case]
    y, d, z = (np.array(said[k], float) for k in ("y", "d", "z"))
    found = late(arms_of(y * scale, d, z))
    assert found.estimate == pytest.approx(said["late"] * scale, rel=1e-9)
    assert found.strength == pytest.approx(said["f"], rel=1e-9)
    assert found.p_value == pytest.approx(said["p"], rel=1e-8)
    ends = [e * scale for e in said["ends"]]
    assert [found.region.low, found.region.high] == pytest.approx(ends, rel=1e-7)
    assert found.region.shape == ("interval" if said["far_rejected"] else "outside")
    assert found.region.holds(said["late"] * scale) is not said["late_rejected"]


def test_hidden_causes_are_sensemakrs():
    said = SAID["sensitivity"]
    y, d, x = (np.array(said[k], float) for k in ("y", "d", "x"))
    found = regress(y, d, x, {"a": [0], "b": [1]})
    assert [found.estimate, found.std_error] == pytest.approx([said["estimate"], said["se"]])
    values = [robustness_value(found.t, found.df, 1.0, alpha) for alpha in (None, 0.05)]
    assert values == pytest.approx([said["rv"], said["rv_alpha"]], rel=1e-9)
    for times, want in enumerate(said["bounds"], 1):
        one = benchmark(found, "a", times)
        numbers = [one.of_treatment, one.of_outcome, one.estimate, one.std_error]
        assert numbers == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize("case", SAID["synthetic"])
def test_a_synthetic_market_is_that_of_a_general_solver(case):
    said = SAID["synthetic"][case]
    y = np.array(said["y"])
    adopted = np.full(len(y), math.inf)
    adopted[said["controls"] :] = said["before"]
    found = synthetic_difference(y, adopted)
    assert found.estimate == pytest.approx(said["estimate"], rel=1e-6)
    assert found.omega == pytest.approx(said["omega"], abs=1e-6)
