"""Moments by bucket of units in; how often re-randomised arms of no effect differ out.

The A/A gate asks whether the p-values of this very experiment can be believed. Units are put into
buckets by a hash of their id, whole buckets are dealt to pseudo-arms many times, and the arms'
test is run each time. No pseudo-arm had a treatment, so alpha of the tests should reject.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.ab.adjust import LEAST
from retention_lab.ab.estimate import EPS, FEW
from retention_lab.ab.few import common_variances
from retention_lab.algebra import FLAT
from retention_lab.data.moments import Moments

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]

MIN_BUCKETS = 20
SIGMAS = 3.0  # Monte-Carlo errors that a rate may be off
CHANCE = 0.01  # how often chance in the data themselves may exceed its allowance, both sides
RIDGE = 1e-12  # of a covariate's variance, added to it

TOO_FEW_BUCKETS = "too_few_buckets"
ZERO_VARIANCE = "zero_variance: every unit has the same value, so there is no test to check"
NOT_FINITE = "not_finite: the values are infinite, NaN or too large to add up"
NO_TEST = "no_test: no draw had a test, the denominator is 0 or rests on a handful of units"
UNEVEN_COVARIATES = "missing_values: the covariates are not known for the same units as the metric"
ABOVE = (
    "above_limit: arms of no effect differ too often, so p-values are too small; "
    "rows may not be independent units"
)
BELOW = (
    "below_limit: arms of no effect differ less often than alpha, so the test is careful, not "
    "wrong; a few units may carry most of the variance"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """The columns of one metric: a mean, a ratio of two columns, or either one adjusted."""

    numerator: str
    denominator: str | None = None
    covariates: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Gate:
    """What re-randomisation found.

    =========== ===============================================================================
    draws       re-randomisations asked for
    tested      comparisons with the first pseudo-arm that had a test, over all draws
    buckets     buckets that hold units of the metric
    rate        share of the tested comparisons with p below alpha; None where there is none
    error       Monte-Carlo error of the rate, sqrt(rate (1 - rate) / draws): binomial, as if a
                draw were one trial (its comparisons share an arm), so rather too large
    low, high   limits of the rate that chance explains
    suspicious  the rate is above `high`: the p-values of this metric are too small
    note        a code and a sentence, or None
    =========== ===============================================================================

    `error` says only how well the draws show the rate *of this dataset*. Draws of one dataset are
    not new datasets: all of them share the same between-bucket spread, which chance makes larger
    or smaller than the units' own variance says. The limits allow for both, see `rerandomise`.
    """

    draws: int
    tested: int
    buckets: int
    rate: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    suspicious: bool = False
    note: str | None = None


def rerandomise(
    buckets: Moments,
    measure: Measure,
    shares: Sequence[float],
    draws: int = 1000,
    seed: int = 0,
    alpha: float = 0.05,
    key: str = "bucket",
) -> Gate:
    """The false-positive rate of the Welch test over `draws` deals of whole buckets to arms.

    `buckets` is split by `key` (and by anything else, which is rolled up); `shares` are the planned
    shares of the arms, the control first; each other arm is compared with it. The same `seed`
    gives the same deals for every metric.

    The hash that makes the buckets must not be the one that assigned the arms (give it a salt of
    its own): buckets that each lie within one arm would carry a true effect into the rate.

    Limits. For independent units, whatever their distribution, the spread between B equal buckets
    over the spread that the units' variance predicts has mean 1 and variance at most 2 / B, that
    of Q = chi-square(B - 1) / (B - 1). A test whose error is wrong by sqrt(q) rejects at the rate
    2 Phi(-z / sqrt(q)), z the critical value of alpha. `low` and `high` are these rates at the
    0.5% and 99.5% quantiles of Q, less and plus 3 Monte-Carlo errors. B is the effective number,
    1 / sum of squared shares of units. With 200 buckets and 1,000 draws: 1% to 11%.

    No rate, and a note, where fewer than 20 buckets in effect hold units, an arm's share is less
    than two buckets, all values are the same, or values are not finite. ValueError for arguments
    that no data can cure; KeyError for columns that were not reduced.
    """
    if len(shares) < 2 or not all(math.isfinite(s) and s > 0 for s in shares):
        raise ValueError("shares are two positive numbers or more, the control's first")
    if draws < 1 or not 0 < alpha < 1:
        raise ValueError("draws is 1 or more, alpha between 0 and 1")
    m = buckets if buckets.keys == (key,) else buckets.roll_up(key)
    main = m.pair(measure.numerator, measure.denominator)
    units = m.n[:, main].astype(np.float64)
    held = np.flatnonzero(units)
    shape = Gate(draws, 0, len(held))
    weights = units[held] / units.sum() if len(held) else units
    effective = float(1.0 / (weights @ weights)) if len(held) else 0.0
    counts = _cut(len(held), shares)
    if effective < MIN_BUCKETS or min(counts) < 2:
        why = (
            f"{len(held)} buckets hold units, {effective:.0f} in effect; the gate needs "
            f"{MIN_BUCKETS}, and two for every arm"
        )
        return dataclasses.replace(shape, note=f"{TOO_FEW_BUCKETS}: {why}")
    p = p_values(m, measure, deal(counts, draws, seed), held)
    if isinstance(p, str):
        return dataclasses.replace(shape, note=p)
    known = np.isfinite(p)
    tested = int(known.sum())
    if tested == 0:
        return dataclasses.replace(shape, note=NO_TEST)
    rate = float((p[known] < alpha).sum()) / tested
    low, high = limits(effective, draws, alpha)
    return dataclasses.replace(
        shape,
        tested=tested,
        rate=rate,
        error=math.sqrt(rate * (1 - rate) / draws),
        low=low,
        high=high,
        suspicious=rate > high,
        note=ABOVE if rate > high else BELOW if rate < low else None,
    )


def limits(buckets: float, draws: int, alpha: float) -> tuple[float, float]:
    """The rates between which `draws` deals of independent units lie; see `rerandomise`."""
    z, df = float(special.ndtri(1 - alpha / 2)), buckets - 1
    ends = []
    for sign, upper in ((-1, 1 - CHANCE / 2), (1, CHANCE / 2)):
        q = float(special.chdtri(df, upper)) / df
        rate = 2 * float(special.ndtr(-z / math.sqrt(q)))
        ends.append(rate + sign * SIGMAS * math.sqrt(rate * (1 - rate) / draws))
    return max(ends[0], 0.0), min(ends[1], 1.0)


def _cut(buckets: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Buckets for every arm in proportion to the shares, adding up to `buckets`."""
    ends = np.rint(np.cumsum(shares) / np.sum(shares) * buckets).astype(int)
    return tuple(int(c) for c in np.diff(ends, prepend=0))


def deal(counts: Sequence[int], draws: int, seed: int) -> Labels:
    """draws x sum(counts): the arm of each bucket, `counts` buckets an arm in random order."""
    return _deal(tuple(int(c) for c in counts), draws, seed)


@functools.lru_cache(maxsize=4)
def _deal(counts: tuple[int, ...], draws: int, seed: int) -> Labels:
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(seed)
    dealt = rng.permuted(np.tile(labels, (draws, 1)), axis=1)
    dealt.flags.writeable = False
    return dealt


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def p_values(
    m: Moments, measure: Measure, labels: Labels, held: npt.NDArray[np.intp] | None = None
) -> Floats | str:
    """draws x (arms - 1) two-sided p-values of Welch's test against arm 0; nan for no test.

    `m` is split by bucket alone; `labels` (draws x buckets) says the arm of each bucket, of those
    at positions `held` where it is given. Or the reason why there is no test in any draw.
    The test is that of `estimate.difference` on the rolled-up arms, with covariates after
    `adjust.adjust` of the two arms; as there, arms with too few units for that are compared as
    they are.
    """
    rows = np.arange(len(m.cells)) if held is None else held
    member = np.stack([labels == k for k in range(int(labels.max()) + 1)]).astype(np.float64)
    pool = _Pool(m, rows, member, measure)
    if not pool.finite(measure):
        return NOT_FINITE
    found = pool.ratio(measure) if measure.denominator else pool.mean(measure)
    variance = found.spread / (found.n - 1) / found.n
    difference, df = found.offset[1:] - found.offset[0], found.n - 1
    level = found.offset + found.centre
    arm, base = common_variances(*((v[1:], v[:1]) for v in (found.n, level, variance)))
    test = _welch(difference, arm, base, 0.0, df[1:], df[0])
    if measure.covariates:
        slopes = pool.slopes(measure, found)
        if isinstance(slopes, str):
            return slopes
        enough = found.n >= LEAST * (len(measure.covariates) + 1)
        adjusted = _adjusted(found, slopes)
        test = np.where(enough[1:] & enough[0], adjusted, test)
        variance = slopes.left
    if not np.isfinite(test).any():
        return ZERO_VARIANCE if np.any(variance == 0) else NO_TEST
    return np.ascontiguousarray(test.T)


def _welch(
    difference: Floats, arm: Floats, base: Floats, more: Floats | float, f: Floats, g: Floats
) -> Floats:
    """p-values from variances, what is added to their sum, and degrees of freedom f and g."""
    total, top = arm + base + more, np.maximum(arm, base)
    a, b = arm / top, base / top
    df = (a + b) ** 2 / (a * a / f + b * b / g)
    p = 2.0 * special.stdtr(df, -np.abs(difference) / np.sqrt(total))
    return np.asarray(np.where(total > 0, p, np.nan))


def _adjusted(found: _Levels, by: _Slopes) -> Floats:
    """p-values of each arm against the first, both at the mean of their covariates together."""
    n, rank = found.n, by.slope.shape[-1]
    residual, df = by.left / np.maximum(n - 1 - rank, 1), np.maximum(n - 1 - rank, 1)
    share = (n[1:] / (n[1:] + n[0]))[..., None]
    apart = by.mean[1:] - by.mean[0]
    levels = []
    for k, distance in ((slice(1, None), apart * (1 - share)), (slice(0, 1), -apart * share)):
        about = np.linalg.solve(by.square[k], distance[..., None])[..., 0]
        variance = residual[k] * (1 / n[k] + (distance * about).sum(-1))
        levels.append((found.offset[k] - (by.slope[k] * distance).sum(-1), variance))
    (arm, v_arm), (base, v_base) = levels
    v_arm, v_base = common_variances(
        (n[1:], n[:1]), (arm + found.centre, base + found.centre), (v_arm, v_base)
    )
    own = by.square / (n - 1)[..., None, None]
    weight = share[..., None]
    pooled = weight * own[1:] + (1 - weight) * own[0]
    pooled = pooled + weight * (1 - weight) * apart[..., None] * apart[..., None, :]
    tilt = by.slope[1:] - by.slope[0]
    shared = (tilt * (pooled @ tilt[..., None])[..., 0]).sum(-1) / (n[1:] + n[0])
    return _welch(
        arm - base, v_arm, v_base, np.where(v_arm + v_base > 0, shared, 0.0), df[1:], df[0]
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """Arms x draws: levels less the constant `centre`, sums of squares, units; and how a
    (linearised) value is made of the columns."""

    offset: Floats
    spread: Floats
    n: Floats
    load: dict[str, Floats]
    centre: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """Arms x draws x covariates: slopes, means, co-moments; and residual sums of squares."""

    slope: Floats
    mean: Floats
    square: Floats
    left: Floats


class _Pool:
    """Sums over buckets by arm and draw (arms x draws), counted from the pooled means.

    Buckets' means are taken less the mean of all buckets together, so that what is added is of
    the size of the differences between buckets, however large the means (pairwise update of Chan,
    Golub and LeVeque, 1983, in one step from a common centre).
    """

    def __init__(
        self, m: Moments, rows: npt.NDArray[np.intp], member: Floats, measure: Measure
    ) -> None:
        self.m, self.rows, self.member = m, rows, member
        columns = [c for c in (measure.numerator, measure.denominator, *measure.covariates) if c]
        used = {self.at(x, y) for x in columns for y in columns}  # some pairs stand there twice
        self.place = {pair: i for i, pair in enumerate(sorted(used))}
        self._summed: tuple[Floats, Floats, Floats, Floats] | None = None

    def finite(self, measure: Measure) -> bool:
        """Whether nothing of the metric or its covariates overflowed."""
        columns = (measure.numerator, measure.denominator, *measure.covariates)
        pairs = [self.at(c, c) for c in columns if c is not None]
        parts = (self.m.mean_x, self.m.mean_y, self.m.comoment)
        return all(bool(np.isfinite(part[self.rows][:, pairs]).all()) for part in parts)

    def at(self, x: str, y: str) -> int:
        """The position of the pair, whichever of its columns stands first."""
        return self.m.pair(x, y) if (x, y) in self.m.pairs else self.m.pair(y, x)

    def centred(self, pairs: list[int]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """n and both means less the pooled ones (buckets x pairs), the pooled means (pairs)."""
        n = self.m.n[self.rows][:, pairs].astype(np.float64)
        first = np.argmax(n > 0, axis=0), np.arange(len(pairs))
        off, centres = [], []
        for means in (self.m.mean_x, self.m.mean_y):
            mean = means[self.rows][:, pairs]
            beyond = (n * (mean - mean[first])).sum(0) / np.maximum(n.sum(0), 1.0)
            centres.append(mean[first] + beyond)
            off.append((mean - centres[-1]) * (n > 0))
        return n, off[0], off[1], centres[0], centres[1]

    def sums(self, pairs: list[int]) -> tuple[Floats, Floats, Floats, Floats]:
        """arms x draws x pairs: units, both means less the pooled ones, and the co-moment.

        (Those of all pairs of the measure are added up at once: threads of many small products
        wait for one another.)
        """
        if self._summed is None:
            used = list(self.place)
            n, dx, dy, _, _ = self.centred(used)
            own = self.m.comoment[self.rows][:, used]
            total = self.member @ np.hstack([n, n * dx, n * dy, own + n * dx * dy])
            units, x, y, both = np.split(total, 4, axis=-1)
            x, y = x / units, y / units
            self._summed = units, x, y, both - units * x * y
        at = [self.place[pair] for pair in pairs]
        units, x, y, both = (part[..., at] for part in self._summed)
        return units, x, y, both

    def mean(self, measure: Measure) -> _Levels:
        """Means less the pooled mean, their sums of squares and units; 0 below the grain."""
        pairs = [self.m.pair(measure.numerator)]
        n, mean, _, spread = (part[..., 0] for part in self.sums(pairs))
        centre = self.m.origin.get(measure.numerator, 0.0) + float(self.centred(pairs)[3][0])
        grain = (4 * EPS * np.abs(centre + mean)) ** 2 * (n - 1)
        ones = {measure.numerator: np.ones_like(mean)}
        return _Levels(mean, np.where(spread <= grain, 0.0, spread), n, ones, centre)

    def ratio(self, measure: Measure) -> _Levels:
        """Ratios, sums of squares of their linearisation, and units; nan where thin."""
        assert measure.denominator is not None
        x, y = measure.numerator, measure.denominator
        pairs = [self.m.pair(x, y), self.m.pair(x), self.m.pair(y)]
        units, over, under, squares = (np.moveaxis(part, -1, 0) for part in self.sums(pairs))
        xy, xx, yy = squares
        n = units[0]
        _, _, _, centre_x, centre_y = self.centred(pairs)
        over = over[0] + (self.m.origin.get(x, 0.0) + centre_x[0])
        under = under[0] + (self.m.origin.get(y, 0.0) + centre_y[0])
        ratio = np.where(under == 0, np.nan, over / under)
        ratio = np.where(n / (1 + yy / n / under / under) < FEW, np.nan, ratio)
        parts = (xx, -2 * ratio * xy, ratio * ratio * yy)
        whole = np.maximum(parts[0] + parts[1] + parts[2], 0.0)
        size = np.abs(parts[0]) + np.abs(parts[1]) + np.abs(parts[2])
        whole = np.where(whole <= 8 * EPS * size, 0.0, whole) / under / under
        return _Levels(ratio, whole, n, {x: 1 / under, y: -ratio / under})

    def slopes(self, measure: Measure, found: _Levels) -> _Slopes | str:
        """The regressions of each arm.

        The covariates are first made orthogonal with unit variance over all units, and directions
        that do not vary are left out; a direction that does not vary within one arm gets slope 0.
        """
        names, k = measure.covariates, len(measure.covariates)
        inner = [self.at(a, b) for a in names for b in names]
        outer = {c: [self.at(c, a) for a in names] for c in found.load}
        main = self.m.pair(measure.numerator, measure.denominator)
        used = sorted({*inner, *(i for line in outer.values() for i in line)})
        if (self.m.n[self.rows][:, used] != self.m.n[self.rows, main][:, None]).any():
            return UNEVEN_COVARIATES
        units, dx, dy, _, _ = self.centred(inner)
        pooled = self.m.comoment[self.rows][:, inner].sum(0) + (units * dx * dy).sum(0)
        pooled = pooled.reshape(k, k) / self.m.n[self.rows, main].sum()
        scale = np.sqrt(np.where(np.diag(pooled) > 0, np.diag(pooled), 1.0))
        values, vectors = np.linalg.eigh(pooled / scale[:, None] / scale)
        some = values > FLAT
        white = vectors[:, some] / np.sqrt(values[some]) / scale[:, None]
        once, back = np.unique(inner, return_inverse=True)
        square = self.sums(once.tolist())[3][..., back].reshape(*found.n.shape, k, k)
        square = white.T @ square @ white
        square = square + RIDGE * found.n[..., None, None] * np.eye(white.shape[1])
        mean = self.sums([self.at(a, a) for a in names])[1] @ white
        parts = [w[..., None] * self.sums(outer[c])[3] for c, w in found.load.items()]
        cross = np.nan_to_num(np.sum(parts, axis=0) @ white)
        slope = np.linalg.solve(square, cross[..., None])[..., 0]
        left = found.spread - (slope * cross).sum(-1)
        left = np.where(left <= 10 * RIDGE * found.spread, 0.0, left)
        return _Slopes(slope, mean, square, left)
