"""Small arms with few events: size, coverage and the guardrail's size where Welch's test fails.

Uneven arms, 2% buyers with log-normal revenue, or a rare event: the smaller arm may have no buyer,
and then its mean and its spread are both too small. `pooled_variance` is careful, not exact: sizes
are at most nominal. A share of S simulations may differ by `SIGMAS` Monte-Carlo errors and `SMALL`.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from table import record

from retention_lab.ab.estimate import Level, contrast, difference, relative_lift
from retention_lab.ab.few import POOLED

SIGMAS = 3.5
SMALL = 0.01
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
# arms, share with an event, spread of its logarithm (None: the event is what counts)
SHAPES = {
    "2% buyers, sigma 1": ((9000, 1000), 0.02, 1.0),
    "2% buyers, sigma 2": ((9000, 1000), 0.02, 2.0),
    "2% buyers, sigma 1, arms 99 to 1": ((9900, 100), 0.02, 1.0),
    "share of 0.2%": ((9000, 1000), 0.002, None),
    "share of 99.8%": ((9000, 1000), 0.998, None),
    "share of 2%, arms 99 to 1": ((9900, 100), 0.02, None),
}


@pytest.fixture(params=[800, pytest.param(10_000, marks=SLOW)])
def count(request):
    return request.param


def drawn(rng, n, share, spread):
    """Mean and variance of `n` units, of whom `share` have an event; the rest has 0."""
    events = rng.binomial(n, share)
    if spread is None:
        p = events / n
        return Level(p, p * (1 - p) / (n - 1), n)
    x = np.exp(rng.normal(0.0, spread, events))
    mean = x.sum() / n
    squares = ((x - mean) ** 2).sum() + (n - events) * mean**2
    return Level(float(mean), float(squares) / (n - 1) / n, n)


def welch(a, b):
    error = np.hypot(*(x.variance**0.5 for x in (a, b)))
    df = (a.variance + b.variance) ** 2 / sum(x.variance**2 / (x.n - 1) for x in (a, b))
    return 2 * stats.t.sf(abs(a.estimate - b.estimate) / error, df)


@pytest.mark.parametrize("shape", SHAPES)
def test_few_events_in_a_small_arm_do_not_make_an_effect(shape, count):
    (many, few), share, spread = SHAPES[shape]
    rng, found, alone, harm, lifts = np.random.default_rng(1), [], [], [], []
    for _ in range(count):
        base, arm = drawn(rng, many, share, spread), drawn(rng, few, share, spread)
        one = difference(arm, base, 0.05)
        if one.p_value is None:
            continue
        found.append(one.p_value < 0.05)
        alone.append(welch(arm, base) < 0.05)
        lift = relative_lift(arm, base, 0.05)
        lifts.append(lift.low is None or lift.low <= 0 <= lift.high)
        assert (one.note == POOLED) == (
            one.std_error > (arm.variance + base.variance) ** 0.5 + 1e-12
        )
        # A guardrail at its margin: the arm has `more` times as many events, and is seen as kept.
        more = 1.5 if share < 0.5 else 1.0
        calm = drawn(rng, many, share / more, spread)
        kept = contrast([arm, calm], [-1.0, more], 0.05, times=[more, 1.0])
        harm.append(kept.low is not None and kept.low > 0)
    scenario = f"{shape}, {many:,}/{few:,} units"
    record("difference, Welch", scenario, "size", None, np.mean(alone), len(alone))
    for name, what, nominal, hits in (
        ("difference, few events", "size", 0.05, found),
        ("non-inferiority, few events", "size, one-sided, at the margin", 0.025, harm),
    ):
        error = record(name, scenario, what, f"at most {nominal}", np.mean(hits), len(hits))
        assert np.mean(hits) <= nominal + SIGMAS * error + SMALL
    error = record(
        "lift, few events", scenario, "coverage", "at least 0.95", np.mean(lifts), len(lifts)
    )
    assert np.mean(lifts) >= 0.95 - SIGMAS * error - SMALL
    assert count < 5000 or np.mean(alone) > 0.06
