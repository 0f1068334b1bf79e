"""Effects of what nobody randomised: bias within its Monte-Carlo error, coverage of intervals.

Treatment depends on covariates that also move the outcome, so that the plain difference is wrong by
many errors. A share, or a mean, of S simulations may differ from its nominal value by `SIGMAS`
Monte-Carlo errors.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from table import record

from retention_lab.incentives.observed.aipw import average_effect, effect_on_treated
from retention_lab.incentives.observed.crossfit import cross_fit
from retention_lab.incentives.observed.effects import effect, naive
from retention_lab.incentives.observed.nuisance import Boosting, Linear
from retention_lab.incentives.observed.plr import partially_linear_effect
from retention_lab.incentives.observed.sample import make_sample

SIGMAS = 3.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
ROBINSON = "partially linear"
AIPW, TREATED = "AIPW", "AIPW, on the treated"


@pytest.fixture(params=[25, pytest.param(1000, marks=SLOW)])
def count(request):
    return request.param


@pytest.fixture(params=[3, pytest.param(200, marks=SLOW)])
def few(request):
    return request.param


def judge(made, estimates, truth, scenario, learner, count, alpha=0.05, **options):
    """Bias and coverage of each estimate over `count` draws of `made`; the plain one's beside."""
    found = defaultdict(list)
    for i in range(count):
        arm, x, y, cluster = made(np.random.default_rng([i, 11]))
        sample = make_sample(
            arm,
            ("none", "coupon"),
            {f"x{j}": x[:, j] for j in range(x.shape[1])},
            {"y": y},
            cluster,
        )
        c = cross_fit(sample, learner, seed=i, most_threads=1, **options).crossed["y"]
        for name, solve in estimates.items():
            found[name].append(effect(solve(c), sample.cluster, alpha))
        found["plain"].append(effect(naive(sample.arm, sample.y["y"], 1, 0), None, alpha))
    for name in estimates:
        value = np.array([e.estimate for e in found[name]]) - truth[name]
        error = float(value.std(ddof=1)) / math.sqrt(count)
        said = (f"{name}, {learner.name}", scenario)
        record(*said, "bias", 0.0, float(value.mean()), count, error)
        assert abs(value.mean()) <= SIGMAS * error, name
        held = np.mean([e.low <= truth[name] <= e.high for e in found[name]])
        slack = SIGMAS * record(*said, "coverage", 1.0 - alpha, held, count)
        assert abs(held - 1.0 + alpha) <= slack, name
    plain = np.array([e.estimate for e in found["plain"]]) - truth[AIPW]
    error = float(plain.std(ddof=1)) / math.sqrt(count)
    record("plain difference", scenario, "bias", None, float(plain.mean()), count, error)
    assert abs(plain.mean()) > SIGMAS * error, "adjustment has nothing to do"


def drawn(rng, n, chance, mean, gain, noise=1.0):
    """Units with three covariates; `chance`, `mean` and `gain` are functions of them."""
    x = rng.normal(size=(n, 3))
    got = rng.random(n) < 1.0 / (1.0 + np.exp(-chance(x)))
    y = mean(x) + got * gain(x) + noise * rng.normal(size=n)
    return np.where(got, "coupon", "none"), x, y, None


def straight(x):
    return 0.6 * x[:, 0] - 0.4 * x[:, 1]


def level(x):
    return 1.0 + x @ [1.0, 0.5, -0.5]


def curved(x):
    return np.exp(0.5 * x[:, 0]) + np.abs(x[:, 1])


def bent(x):
    """Log odds that no straight line follows."""
    return 0.8 * np.sin(2.0 * x[:, 0]) - 0.4 * (x[:, 1] > 0)


def on_treated(chance, gain):
    """The effect on the treated, by as many draws as leave no doubt about it."""
    x = np.random.default_rng(1).normal(size=(2_000_000, 3))
    weight = 1.0 / (1.0 + np.exp(-chance(x)))
    return float(weight @ gain(x) / weight.sum())


def grows(x):
    return 1.0 + 0.5 * x[:, 0]


def same(x):
    return np.ones(len(x))


def test_linear_where_effects_differ(count):
    truth = {AIPW: 1.0, TREATED: on_treated(straight, grows)}
    judge(
        lambda rng: drawn(rng, 500, straight, level, grows),
        {AIPW: lambda c: average_effect(c, 1), TREATED: lambda c: effect_on_treated(c, 1)},
        truth,
        "500 units, effects grow with a covariate",
        Linear(),
        count,
    )


def test_linear_with_curved_outcomes(count):
    """The outcome is fitted by the wrong curve; the chances are right, and that is enough."""
    judge(
        lambda rng: drawn(rng, 1000, straight, curved, same),
        {AIPW: lambda c: average_effect(c, 1), ROBINSON: lambda c: partially_linear_effect(c, 1)},
        {AIPW: 1.0, ROBINSON: 1.0},
        "1,000 units, outcome curved",
        Linear(),
        count,
    )


def test_linear_with_bent_chances(count):
    """The chances are fitted by the wrong curve; the outcome is right, and that is enough."""
    judge(
        lambda rng: drawn(rng, 1000, bent, level, same),
        {AIPW: lambda c: average_effect(c, 1), TREATED: lambda c: effect_on_treated(c, 1)},
        {AIPW: 1.0, TREATED: 1.0},
        "1,000 units, chances bent",
        Linear(),
        count,
    )


def test_linear_without_an_effect(count):
    judge(
        lambda rng: drawn(rng, 400, straight, level, lambda x: np.zeros(len(x))),
        {AIPW: lambda c: average_effect(c, 1), ROBINSON: lambda c: partially_linear_effect(c, 1)},
        {AIPW: 0.0, ROBINSON: 0.0},
        "400 units, no effect",
        Linear(),
        count,
    )


def in_households(rng, groups=150):
    """Households share the arm and a part of the outcome."""
    size = rng.integers(1, 8, groups)
    home = np.repeat(np.arange(groups), size)
    shared = rng.normal(size=(groups, 1))
    x = np.column_stack([shared[home, 0], rng.normal(size=(len(home), 2))])
    got = (rng.random(groups) < 1.0 / (1.0 + np.exp(-0.7 * shared[:, 0])))[home]
    y = level(x) + got + rng.normal(size=groups)[home] + rng.normal(size=len(home))
    return np.where(got, "coupon", "none"), x, y, home


def test_linear_in_clusters(count):
    judge(
        in_households,
        {AIPW: lambda c: average_effect(c, 1), ROBINSON: lambda c: partially_linear_effect(c, 1)},
        {AIPW: 1.0, ROBINSON: 1.0},
        "150 households of 1 to 7",
        Linear(),
        count,
    )


def test_boosting_where_nothing_is_straight(few):
    judge(
        lambda rng: drawn(rng, 1000, bent, lambda x: np.sin(2 * x[:, 0]) + np.abs(x[:, 1]), grows),
        {AIPW: lambda c: average_effect(c, 1), TREATED: lambda c: effect_on_treated(c, 1)},
        {AIPW: 1.0, TREATED: on_treated(bent, grows)},
        "1,000 units, outcome curved, chances bent",
        Boosting() if few > 10 else Boosting(iterations=30),
        few,
        folds=5 if few > 10 else 2,
    )
