"""Moments of one cell in; a level, a difference and a relative lift with intervals out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from retention_lab.ab.few import POOLED, common_variance
from retention_lab.data.moments import Moments

EPS = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """An arm's mean or ratio: `estimate`, the `variance` of that estimate, from `n` units.

    `offset` is the estimate less a constant that all arms share: means of 1e12 differ in digits
    that the estimate itself cannot hold.
    """

    estimate: float
    variance: float
    n: int
    offset: float | None = None
    doubt: str | None = None  # why its error, or the estimate itself, cannot be had
    df: float | None = None  # degrees of freedom of the variance; None: n - 1
    units: bool = True  # whether n counts units that were drawn by themselves, not clusters

    @property
    def freedom(self) -> float:
        return self.n - 1.0 if self.df is None else self.df


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """What two adjusted levels owe to the covariates' mean that both are moved to.

    It adds `arm` and `base` to their variances, `both` to their covariance, and `difference` to
    the variance of their difference.
    """

    arm: float = 0.0
    base: float = 0.0
    both: float = 0.0
    difference: float = 0.0


NOTHING_SHARED = Shared()


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with its interval and p-value; None where there is none, and `note` says why."""

    estimate: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    note: str | None = None


UNBOUNDED = (
    "unbounded: the baseline is not clearly different from zero, "
    "so a relative change has no finite interval"
)
TOO_FEW = "too_few_units: an arm has fewer than two units"
NO_VARIANCE = "zero_variance: every unit has the same value, so there is no error to compare with"
EMPTY = "empty_arm: the arm has no units"
FEW = 20
SAME = 1e-12  # of their size, by which means of one value may differ by rounding
TINY = 1e-150  # squares of what is less are 0
THIN = f"few_events: the ratio rests on fewer than {FEW} units of the denominator in effect"
NO_DENOMINATOR = "zero_denominator: the denominator adds up to 0"
NOT_FINITE = "not_finite: the values are infinite, NaN or too large to add up"


def mean_level(m: Moments, cell: int | None, column: str) -> Level:
    """Mean of `column` in the cell at position `cell`; variance s^2 / n with s^2 over n - 1."""
    if cell is None:
        return Level(math.nan, math.nan, 0)
    i = m.pair(column)
    n = int(m.n[cell, i])
    mean, offset = m.mean(cell, column), float(m.mean_x[cell, i])
    if n < 2:
        return Level(mean if n else math.nan, math.nan, n)
    return Level(mean, variance(float(m.comoment[cell, i]), n, mean) / n, n, offset)


def ratio_level(m: Moments, cell: int | None, numerator: str, denominator: str) -> Level:
    """Ratio of two means, with the variance of its linearisation (delta method).

    R = x / y; variance (s_xx - 2 R s_xy + R^2 s_yy) / (n y^2), the variance of the mean of
    (X - R Y) / y. Source: Deng, Knoblich and Lu (2018), "Applying the Delta Method in Metric
    Analytics", KDD '18, section 2. Where the denominator rests on a handful of units the error of
    the linearisation is far too small: below 20 of (sum y)^2 / sum y^2 there is no error.
    """
    if cell is None:
        return Level(math.nan, math.nan, 0)
    xx, yy, xy = m.pair(numerator), m.pair(denominator), m.pair(numerator, denominator)
    n = int(m.n[cell, xy])
    x = m.origin.get(numerator, 0.0) + float(m.mean_x[cell, xy])
    y = m.origin.get(denominator, 0.0) + float(m.mean_y[cell, xy])
    if n == 0:
        return Level(math.nan, math.nan, 0)
    if y == 0.0:
        return Level(math.nan, math.nan, n, doubt=NO_DENOMINATOR)
    ratio = x / y
    if n < 2:
        return Level(ratio, math.nan, n)
    if n / (1.0 + float(m.comoment[cell, yy]) / n / y / y) < FEW:
        return Level(ratio, math.nan, n, doubt=THIN)
    parts = (
        float(m.comoment[cell, xx]),
        -2.0 * ratio * float(m.comoment[cell, xy]),
        ratio * ratio * float(m.comoment[cell, yy]),
    )
    spread = max(sum(parts), 0.0)
    if spread <= 8 * EPS * sum(abs(p) for p in parts):
        spread = 0.0
    return Level(ratio, spread / (n - 1) / n / y / y, n)


def variance(spread: float, n: int, mean: float) -> float:
    """Sample variance; 0 where the spread is below what doubles near `mean` can hold apart."""
    variance, grain = spread / (n - 1), 4 * EPS * abs(mean)
    return 0.0 if variance <= grain * grain else variance


def level_interval(a: Level, alpha: float) -> Estimate:
    """Interval of one arm's level by Student's t with n - 1 degrees of freedom."""
    reason = _cannot(a)
    if reason is not None:
        return Estimate(a.estimate if _doubted(a) else None, note=reason)
    if a.n < 2 or a.variance == 0.0:
        return Estimate(a.estimate, note=TOO_FEW if a.n < 2 else NO_VARIANCE)
    std_error = math.sqrt(a.variance)
    half = critical(a.freedom, alpha) * std_error
    return Estimate(a.estimate, std_error, a.estimate - half, a.estimate + half)


def share_interval(a: Level, alpha: float) -> Estimate:
    """Interval of one arm's share by the score test, which stays within 0 and 1.

    Source: Wilson (1927), Journal of the American Statistical Association 22(158), 209-212.
    """
    found = level_interval(a, alpha)
    if found.estimate is None or a.n < 2:
        return found
    z2 = float(special.ndtri(1.0 - alpha / 2.0)) ** 2
    share = found.estimate
    middle = share + z2 / (2.0 * a.n)
    half = math.sqrt(z2 * (share * (1.0 - share) / a.n + z2 / (4.0 * a.n * a.n)))
    low, high = ((middle + side) / (1.0 + z2 / a.n) for side in (-half, half))
    return dataclasses.replace(found, low=max(low, 0.0), high=min(high, 1.0))


def difference(arm: Level, base: Level, alpha: float, shared: Shared = NOTHING_SHARED) -> Estimate:
    """arm - base by Welch's unequal-variances t test.

    Where an arm rests on few events, both have the variance of all units (see `alike`).
    Source: Welch (1947), Biometrika 34, 28-35; degrees of freedom by Satterthwaite (1946).
    """
    (arm, base), said = alike((arm, base), (1.0, -1.0))
    found = _welch(arm, base, alpha, shared)
    return found if said is None else dataclasses.replace(found, note=found.note or said)


def alike(
    levels: Sequence[Level], weights: Sequence[float], times: Sequence[float] | None = None
) -> tuple[list[Level], str | None]:
    """The levels with the variance of all units, and a note, where few.py says so; else unchanged.

    Clusters, and levels without an error, stay as they are. `times` is that of `contrast`.
    """
    times = [1.0] * len(levels) if times is None else times
    used = [(level, w) for level, w in zip(levels, weights, strict=True) if w != 0.0]
    if not used or any(not x.units or _cannot(x) is not None for x, _ in used):
        return list(levels), None
    found = common_variance(
        [x.n for x, _ in used],
        [x.estimate for x, _ in used],
        [x.variance for x, _ in used],
        [w for _, w in used],
        [t for t, w in zip(times, weights, strict=True) if w != 0.0],
    )
    if found is None:
        return list(levels), None
    moved = [
        dataclasses.replace(x, variance=t * found / x.n) if w != 0.0 else x
        for x, w, t in zip(levels, weights, times, strict=True)
    ]
    return moved, POOLED


def _welch(arm: Level, base: Level, alpha: float, shared: Shared) -> Estimate:
    reason = _cannot(arm) or _cannot(base)
    if reason is not None and not _doubted(arm, base):
        return Estimate(note=reason)
    estimate = arm.estimate - base.estimate
    if arm.offset is not None and base.offset is not None:
        estimate = arm.offset - base.offset
    if not math.isfinite(estimate):
        return Estimate(note=NOT_FINITE)
    if reason is not None:
        return Estimate(estimate, note=reason)
    if min(arm.n, base.n) < 2:
        return Estimate(estimate, note=TOO_FEW)
    std_error = math.sqrt(arm.variance + base.variance + shared.difference)
    if arm.variance + base.variance == 0.0:
        return Estimate(estimate, note=NO_VARIANCE)
    if not math.isfinite(std_error):
        return Estimate(note=NOT_FINITE)
    df = welch_df(arm, base)
    half = critical(df, alpha) * std_error
    p_value = 2.0 * float(special.stdtr(df, -abs(estimate) / std_error))
    return Estimate(estimate, std_error, estimate - half, estimate + half, p_value)


def contrast(
    levels: Sequence[Level],
    weights: Sequence[float],
    alpha: float,
    shared: float = 0.0,
    times: Sequence[float] | None = None,
) -> Estimate:
    """sum of weight x level, by a t test with Satterthwaite's degrees of freedom.

    `shared` is added to its variance (what adjusted levels have in common). Where an arm rests on
    few events, all have the variance of all units (see `alike`), `times` as much where it is given:
    at a margin an arm has more events than under no effect.
    """
    levels, said = alike(levels, weights, times)
    used = [(level, w) for level, w in zip(levels, weights, strict=True) if w != 0.0]
    reason = next(filter(None, (_cannot(level) for level, _ in used)), None)
    if reason is not None and not _doubted(*(level for level, _ in used)):
        return Estimate(note=reason)
    estimate = math.fsum(w * level.estimate for level, w in used)
    if not math.isfinite(estimate):
        return Estimate(note=NOT_FINITE)
    if reason is not None:
        return Estimate(estimate, note=reason)
    if min(level.n for level, _ in used) < 2:
        return Estimate(estimate, note=TOO_FEW)
    parts = [(w * w * level.variance, level.freedom) for level, w in used]
    own = math.fsum(v for v, _ in parts)
    std_error = math.sqrt(own + shared)
    if std_error == 0.0 or own == 0.0:
        return Estimate(estimate, note=NO_VARIANCE)
    if not math.isfinite(std_error):
        return Estimate(note=NOT_FINITE)
    df = 1.0 / math.fsum((v / own) ** 2 / free for v, free in parts)
    half = critical(df, alpha) * std_error
    p_value = 2.0 * float(special.stdtr(df, -abs(estimate) / std_error))
    return Estimate(estimate, std_error, estimate - half, estimate + half, p_value, said)


def relative_lift(
    arm: Level, base: Level, alpha: float, shared: Shared = NOTHING_SHARED
) -> Estimate:
    """(arm - base) / |base| with Fieller's interval from the same test as the difference.

    The interval holds every lift that the test at `alpha` does not reject, so it excludes 0 exactly
    where the p-value is below `alpha`. It is unbounded where the base itself is not clearly
    different from 0: then there is no number, and the note says so.
    Source: Fieller (1954), JRSS B 16(2), 175-185.
    """
    (arm, base), said = alike((arm, base), (1.0, -1.0))
    whole = _welch(arm, base, alpha, shared)
    if whole.std_error is None or whole.estimate is None:
        return Estimate(note=whole.note)
    t = critical(welch_df(arm, base), alpha)
    size = abs(base.estimate)
    if size <= t * math.sqrt(base.variance + shared.base):
        return Estimate(note=UNBOUNDED)
    # Everything in units of the base's size, so that nothing overflows on the way.
    lift = whole.estimate / size
    rho = arm.estimate / base.estimate
    v_arm = (arm.variance + shared.arm) / size / size
    v_base, both = (base.variance + shared.base) / size / size, shared.both / size / size
    a, middle = 1.0 - t * t * v_base, rho - t * t * both
    spread = v_arm - 2.0 * rho * both + rho * rho * v_base
    root = t * math.sqrt(max(spread - t * t * (v_arm * v_base - both * both), 0.0))
    ends = ((middle - root) / a - 1.0, (middle + root) / a - 1.0)
    low, high = ends if base.estimate > 0 else (-ends[1], -ends[0])
    std_error = math.sqrt(max(spread, 0.0))
    if not all(map(math.isfinite, (lift, low, high, std_error))):
        return Estimate(note=UNBOUNDED)
    return Estimate(lift, std_error, min(low, lift), max(high, lift), whole.p_value, said)


def welch_df(arm: Level, base: Level) -> float:
    """Satterthwaite's degrees of freedom of the difference of two means."""
    # Relative to the larger variance: squares of tiny variances would vanish.
    top = max(arm.variance, base.variance)
    a, b = arm.variance / top, base.variance / top
    return (a + b) * (a + b) / (a * a / arm.freedom + b * b / base.freedom)


def equal_variances_too(found: Estimate, arm: Level, base: Level) -> Estimate:
    """The same difference of two means with the p-value of Student's t, if that is larger."""
    if found.estimate is None or found.p_value is None:
        return found
    spread = sum((x.n - 1) * x.n * x.variance for x in (arm, base))
    df = arm.n + base.n - 2
    error = math.sqrt(spread / df * (1 / arm.n + 1 / base.n))
    common = 2.0 * float(special.stdtr(df, -abs(found.estimate) / error))
    return dataclasses.replace(found, p_value=max(found.p_value, common))


def constants_apart(found: Estimate, arm: Level, base: Level) -> Estimate:
    """The same difference of two arms that have one value each, with a p-value where they differ.

    Of all ways to deal n + m units, of which n have the one value and m the other, one or two part
    them so: the p-value of Fisher's exact test, twice 1 / C(n + m, n) at most.
    """
    least = max(SAME * abs(arm.estimate), SAME * abs(base.estimate), TINY)
    if found.note != NO_VARIANCE or found.estimate is None or abs(found.estimate) <= least:
        return found
    n, m = arm.n, base.n
    ways = special.gammaln(n + m + 1) - special.gammaln(n + 1) - special.gammaln(m + 1)
    return Estimate(found.estimate, p_value=min(1.0, 2.0 * math.exp(-ways)))


def critical(df: float, alpha: float) -> float:
    """Two-sided critical value of Student's t."""
    return float(special.stdtrit(df, 1.0 - alpha / 2.0))


def _doubted(*levels: Level) -> bool:
    """Whether all are known, and it is an error alone that cannot be had."""
    known = all(math.isfinite(x.estimate) for x in levels)
    return known and all(x.doubt is not None or _cannot(x) is None for x in levels)


def _cannot(level: Level) -> str | None:
    if level.n == 0:
        return EMPTY
    if level.doubt is not None:
        return level.doubt
    if not math.isfinite(level.estimate) or (level.n > 1 and not math.isfinite(level.variance)):
        return NOT_FINITE
    return None
