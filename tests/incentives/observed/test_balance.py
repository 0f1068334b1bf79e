"""Standardised differences: Hillstrom's as published, and what weights do to them."""

from __future__ import annotations

import numpy as np
import pytest
from seen import emails, made, sample_of

from retention_lab.incentives.observed.balance import balance, standardised
from retention_lab.incentives.observed.crossfit import cross_fit
from retention_lab.incentives.observed.nuisance import Linear


def test_hillstrom(golden, hillstrom):
    sample = emails(hillstrom, "Mens E-Mail", "Womens E-Mail")
    for k, arm in enumerate(sample.arms[1:], 1):
        expected = golden["hillstrom_smd"]["values"][arm]
        found = dict(zip(sample.names, standardised(sample.x, sample.arm, k, 0), strict=True))
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), (arm, name)


def test_weights_bring_the_arms_together():
    sample = sample_of(made(4000, arms=3))
    c = cross_fit(sample, Linear()).crossed["y"]
    for one in (1, 2):
        found = {d.name: d for d in balance(sample, c, one, 0, 0.01)}
        assert found["x0"].before > 0.3
        assert abs(found["x0"].after) < 0.05
        assert abs(found["x2"].after) < 0.1


def test_both_are_what_their_formula_says():
    sample = sample_of(made(300))
    c = cross_fit(sample, Linear()).crossed["y"]
    x, d, p = sample.x[c.rows], c.arm, c.chance[:, 1]
    for j, found in enumerate(balance(sample, c, 1, 0, 0.2)):
        up, down = x[d == 1, j], x[d == 0, j]
        scale = np.sqrt((up.var(ddof=1) + down.var(ddof=1)) / 2)
        keep = (p >= 0.2) & (p <= 0.8)
        means = [
            np.average(x[keep & (d == a), j], weights=1 / c.chance[keep & (d == a), a])
            for a in (1, 0)
        ]
        assert found.before == pytest.approx((up.mean() - down.mean()) / scale, rel=1e-12)
        assert found.after == pytest.approx((means[0] - means[1]) / scale, rel=1e-12)


def test_a_covariate_that_both_arms_have_constant_has_no_difference():
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    arm = np.arange(10) % 2
    found = standardised(x, arm, 1, 0)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1.0 / np.sqrt(10.0))
