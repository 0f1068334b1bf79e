"""Fitted effects of an incentive that nobody randomised in; rows that say how far to trust them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from retention_lab.incentives.arms.contrasts import SUPPRESSED
from retention_lab.incentives.arms.fieller import critical, tail
from retention_lab.incentives.observed.aipw import average_effect, average_level
from retention_lab.incentives.observed.balance import balance
from retention_lab.incentives.observed.crossfit import Crossed
from retention_lab.incentives.observed.effects import Effect, combine
from retention_lab.incentives.observed.overlap import histogram, shown
from retention_lab.incentives.observed.refute import (
    placebo_range,
    placebo_treatment,
    random_common_cause,
)
from retention_lab.incentives.observed.sensitivity import (
    Regression,
    Shifted,
    benchmark,
    contour,
    e_value,
    e_value_of_limit,
    ratio_of_difference,
    regress,
    robustness_value,
)
from retention_lab.results import Row

if TYPE_CHECKING:
    from retention_lab.incentives.strategies.observational import Asked

TIMES = (1, 2, 3)  # as strong as a covariate, and so many times
LEAST_GRID = 0.2  # of the contour, in shares of variance
OLS = "least squares, classical errors"
NO_RATIO = "no_ratio: the mean of an arm is not above 0, so there is no risk ratio"
EXPLAINS_ALL = "explains_all: a cause so strong would explain all that is left of the outcome"
NOT_LINEAR = "not_estimable: nothing is left of the treatment or the outcome to regress"


def benchmark_rows(asked: Asked, metric: str, arm: str) -> Iterator[Row]:
    """How strong a cause that nobody saw must be: E-values, robustness values, benchmarks.

    Robustness values and benchmarks are about the regression's effect, which is told with them.
    """
    c = asked.crossed(metric)
    one = c.arms.index(arm)
    yield from _e_values(asked, metric, arm, c, one)
    pair = np.flatnonzero((c.arm == one) | (c.arm == 0))
    rows = c.rows[pair]
    sample = asked.sample
    found = regress(
        sample.y[c.outcome][rows], (c.arm[pair] == one).astype(float), sample.x[rows], sample.groups
    )
    counts = {"n": int((c.arm == one).sum()), "n_baseline": int((c.arm == 0).sum())}
    if found is None:
        none = Effect(note=NOT_LINEAR, **counts)
        yield asked.row("robustness_value", metric, arm, none, term="q=1", method=OLS)
        return
    half = critical(asked.alpha, found.df) * found.std_error
    told = Effect(found.estimate, found.std_error, found.estimate - half, found.estimate + half,
                  2.0 * tail(-abs(found.t), found.df), **counts)  # type: ignore[arg-type]  # fmt: skip
    yield asked.row("regression_effect", metric, arm, told, method=OLS)
    for term, alpha in (("q=1", None), ("alpha", asked.alpha)):
        value = robustness_value(found.t, found.df, 1.0, alpha)
        told = Effect(value, **counts)  # type: ignore[arg-type]
        yield asked.row("robustness_value", metric, arm, told, term=term, method=OLS)
    far = LEAST_GRID
    for covariate in found.partial:
        for k in TIMES:
            one_more = benchmark(found, covariate, k, asked.alpha)
            if one_more is None:
                continue
            far = max(far, one_more.of_treatment, one_more.of_outcome)
            yield asked.row("benchmark_bias", metric, arm, _effect_of(one_more, counts),
                            term=covariate, at=str(k), method=OLS)  # fmt: skip
    if metric in asked.plan.spec.primary:
        yield from _contour(asked, metric, arm, found, min(1.1 * far, 0.9), counts)


def _contour(
    asked: Asked, metric: str, arm: str, r: Regression, most: float, counts: Mapping[str, int]
) -> Iterator[Row]:
    for one in contour(r, most, alpha=asked.alpha):
        at = f"{one.of_treatment:.6g},{one.of_outcome:.6g}"
        yield asked.row("sensitivity_contour", metric, arm, _effect_of(one, counts),
                        at=at, method=OLS)  # fmt: skip


def _effect_of(s: Shifted, counts: Mapping[str, int]) -> Effect:
    if s.of_outcome >= 1.0:
        return Effect(s.estimate, **counts, note=EXPLAINS_ALL)
    return Effect(s.estimate, s.std_error, s.low, s.high, **counts)  # type: ignore[arg-type]


def _e_values(asked: Asked, metric: str, arm: str, c: Crossed, one: int) -> Iterator[Row]:
    """E-values of the average effect and of the end of its interval that is nearer to none."""
    ratio, method, note = _ratio(asked, c, one)
    counts = {"n": int((c.arm == one).sum()), "n_baseline": int((c.arm == 0).sum())}
    if ratio is None:
        none = Effect(note=note, **counts)
        yield asked.row("e_value", metric, arm, none, term="estimate", method=method)
        return
    rr, low, high = ratio
    for term, value in (("estimate", e_value(rr)), ("limit", e_value_of_limit(low, high))):
        told = Effect(value, **counts)  # type: ignore[arg-type]
        yield asked.row("e_value", metric, arm, told, term=term, method=method)


def _ratio(
    asked: Asked, c: Crossed, one: int
) -> tuple[tuple[float, float, float] | None, str, str | None]:
    """The effect as a risk ratio with its interval; its method; or why there is none."""
    y = asked.sample.y[c.outcome][c.rows]
    if bool(np.isin(y, (0.0, 1.0)).all()):
        method = "risk ratio of the AIPW means"
        levels = average_level(c, one, asked.trim, 0), average_level(c, 0, asked.trim, one)
        if not all(s.theta > 0.0 for s in levels):
            return None, method, NO_RATIO
        log = combine(
            levels, [1.0 / s.theta * sign for s, sign in zip(levels, (1, -1), strict=True)]
        )
        spread = asked.judged(log, c.arms[one]).std_error
        if spread is None:
            return None, method, NO_RATIO
        centre = math.log(levels[0].theta / levels[1].theta)
        half = critical(asked.alpha) * spread
        ends = (centre - half, centre, centre + half)
        low, middle, high = (math.exp(max(min(v, 600.0), -600.0)) for v in ends)
        return (middle, low, high), method, None
    method = "risk ratio that the standardised difference amounts to"
    found = asked.judged(average_effect(c, one, 0, asked.trim), c.arms[one])
    spreads = [float(y[c.arm == a].var(ddof=1)) for a in (one, 0)]
    deviation = math.sqrt(sum(spreads) / 2.0)
    if found.estimate is None or found.std_error is None or not deviation > 0.0:
        return None, method, found.note or NO_RATIO
    rr, low, high = ratio_of_difference(
        found.estimate, found.std_error, deviation, asked.alpha
    ).tolist()
    return (rr, low, high), method, None


def comparison_rows(asked: Asked, apart: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """Who was compared: differences of covariates, before and after, and chances by arm.

    Of the units of the first outcome; arms that do not overlap with the control are shown too.
    """
    first = next(iter(asked.columns))
    c = asked.crossed(first)
    control = asked.plan.arms[0]
    for arm in c.arms[1:] if c.doubt is None else ():
        if apart.get((first, arm), "").startswith("suppressed"):
            continue
        one = c.arms.index(arm)
        counts = {"n": int((c.arm == one).sum()), "n_baseline": int((c.arm == 0).sum())}
        for d in balance(asked.sample, c, one, 0, asked.trim):
            for at, value in (("before", d.before), ("after", d.after)):
                if at == "after" and (first, arm) in apart:
                    value = None  # nobody is left to weigh
                told = Effect(value, **counts)  # type: ignore[arg-type]
                yield asked.row("standardised_difference", None, arm, told, term=d.name.strip(),
                                at=at, method="weighted by 1 / propensity")  # fmt: skip
        found = histogram(c, one, 0)
        least = asked.plan.spec.privacy.min_cell
        for side, shares, n in (
            (arm, found.arm, counts["n"]),
            (control, found.baseline, counts["n_baseline"]),
        ):
            fine = shown(np.rint(shares * n).astype(np.int64), least)
            for edge, share, may in zip(found.edges[:-1], shares, fine, strict=True):
                yield Row(analysis="incentive", estimand="propensity_share", arm=side,
                          baseline=control, term=arm, at=f"{edge:g}",
                          estimate=float(share) if may else None, n=n, method=asked.made_by,
                          note=None if may else SUPPRESSED.format(least=least))  # fmt: skip


def refutation_rows(asked: Asked, whys: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """What should be nothing: an outcome it cannot have moved, arms that nobody was in."""
    sound = [m for m in asked.columns if asked.crossed(m).doubt is None]
    columns = [asked.columns[m] for m in sound]
    seed = int(asked.plan.spec.incentive.seed) if asked.plan.spec.incentive else 1
    said = f"AIPW, {asked.made_by}"
    arms = asked.plan.arms[1:]
    if asked.placebo is not None:
        for arm in arms:
            why = whys.get((asked.placebo, arm))
            found = Effect(note=why)
            if why is None:
                c = asked.crossed(asked.placebo)
                found = asked.judged(average_effect(c, c.arms.index(arm), 0, asked.trim), arm)
            yield asked.row("placebo_outcome", asked.placebo, arm, found, method=said)
    pairs = [(m, arm) for m in sound if m != asked.placebo for arm in arms if (m, arm) not in whys]
    if not pairs:
        return
    dealt = placebo_treatment(asked.sample, asked.fitted, columns, seed=seed)
    again = random_common_cause(
        asked.sample, asked.fitted, columns, asked.trim, asked.learner, seed
    )
    for metric, arm in pairs:
        c, key = asked.crossed(metric), (asked.columns[metric], arm)
        real = average_effect(c, c.arms.index(arm), 0, asked.trim)
        counts = {"n": real.n, "n_baseline": real.n_baseline}
        range_ = placebo_range(dealt[key], real.theta, asked.alpha) if key in dealt else None
        if range_ is not None and range_.deviation > 0.0:
            told = Effect(range_.mean, range_.deviation, range_.low, range_.high,
                          range_.p_value, **counts)  # type: ignore[arg-type]  # fmt: skip
            yield asked.row("placebo_treatment", metric, arm, told,
                            method=f"{range_.times} permutations within folds, linear")  # fmt: skip
        if key in again:
            yield asked.row("random_common_cause", metric, arm, asked.judged(again[key], arm),
                            method=said)  # fmt: skip
