"""Synthetic difference-in-differences: the best weights, and the effect that the reference has."""

from __future__ import annotations

import numpy as np
import pytest
from panels import panel, reference

from retention_lab.incentives.rollout.synthetic import (
    _fit,
    _jackknife,
    simplex,
    synthetic_difference,
)


@pytest.mark.parametrize("ridge", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("shape", [(12, 5), (6, 20)])
def test_no_other_weights_are_better(ridge, shape):
    """Karush, Kuhn, Tucker: the slope is the same on all weights above 0, and nowhere less."""
    rng = np.random.default_rng(shape[0])
    a, b = rng.normal(size=shape), rng.normal(size=shape[0])
    w = simplex(a, b, ridge)
    assert w.sum() == pytest.approx(1)
    assert (w >= 0).all()
    a, b = a - a.mean(axis=0), b - b.mean()
    slope = a.T @ (a @ w - b) + len(b) * ridge * w
    level = slope[w > 1e-9].mean()
    assert slope[w > 1e-9] == pytest.approx(level, abs=1e-5)
    assert (slope >= level - 1e-5).all()


def test_as_synthdid_has_it():
    """Its Frank-Wolfe steps end a little before the best weights."""
    want = reference()["sdid"]
    y, n0, start = np.array(want["y"]), want["controls"], want["before"]
    adopted = np.full(len(y), np.inf)
    adopted[n0:] = start
    assert synthetic_difference(y, adopted).estimate == pytest.approx(want["tight"], abs=5e-4)
    one = synthetic_difference(y[:-1], adopted[:-1])
    assert one.estimate == pytest.approx(want["one_tight"], abs=1e-5)
    fit = _fit(y[:n0], y[n0:], start)
    assert _jackknife(y, adopted, [fit]) == pytest.approx(want["jackknife"], abs=1e-4)


def test_a_market_that_is_a_mean_of_others_is_found_out():
    rng = np.random.default_rng(4)
    y = rng.normal(size=(15, 30)).cumsum(axis=1)
    made = np.vstack([y, 0.5 * (y[2] + y[7]) + 3.0])
    made[-1, 22:] += 2.0
    adopted = np.append(np.full(15, np.inf), 22.0)
    found = synthetic_difference(made, adopted)
    assert found.omega[[2, 7]].sum() > 0.3  # of 15; the ridge spreads the rest
    # Plain differences are off by how the markets ran apart.
    plain = made[-1, 22:].mean() - made[-1, :22].mean() - (y[:, 22:].mean() - y[:, :22].mean())
    assert abs(found.estimate - 2.0) < abs(plain - 2.0)
    beyond = (np.abs(found.placebos) >= found.estimate).sum()
    assert found.p_value == pytest.approx((1 + beyond) / 16)
    assert len(found.placebos) == 15


def test_order_and_a_shared_trend_do_not_matter():
    y, adopted = panel(treated=2, never=8, starts=(4, 6), periods=9)
    found = synthetic_difference(y, adopted)
    moved = synthetic_difference(y + 3 * np.arange(9.0), adopted)
    assert moved.estimate == pytest.approx(found.estimate, abs=1e-6)
    order = np.random.default_rng(1).permutation(10)
    mixed = synthetic_difference(y[order], adopted[order])
    assert mixed.estimate == pytest.approx(found.estimate, abs=1e-6)


def test_what_cannot_be_done():
    y, adopted = panel(treated=1, never=1, starts=(4,))
    assert synthetic_difference(y, adopted) is None
    y, adopted = panel(treated=1, never=5, starts=(1,))
    assert synthetic_difference(y, adopted) is None
    y, adopted = panel(treated=3, never=2, starts=(4,))
    found = synthetic_difference(y, adopted)  # as many treated as controls: no placebos
    assert (found.p_value, found.method) == (None, "leaving out one market at a time")
    assert found.std_error > 0
    flat = synthetic_difference(np.zeros((6, 8)), np.array([4.0, *[np.inf] * 5]))
    assert (flat.estimate, flat.std_error) == (0.0, None)
