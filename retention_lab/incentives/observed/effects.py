"""Influence values of units in; effects with errors, and contrasts of them without refitting, out.

An estimate is asymptotically the truth plus the sum of what each unit adds, its influence. So the
error of any sum or difference of estimates follows from the units' influences alone: contrasts of
arms, several outcomes together, and clusters need no further fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.clusters import FEW_CLUSTERS, effective, thin, welch_df

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONSTANT = "zero_variance: every unit has the same value, so there is no error to compare with"
NOT_FINITE = "not_finite: the values are infinite or too large to add up"
ONE_CLUSTER = "one_cluster: all units belong to one cluster, so there is no error between clusters"
THIN = f"few_clusters: the units of an arm are of fewer than {FEW_CLUSTERS:.0f} clusters in effect"
GRAIN = 1e-12  # of the outcome's spread: an error below it is rounding


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """An effect with its interval and p-value; None where there is none, and `note` says why.

    From `n` units of the arm and `n_baseline` of the other; `left_out` is the share of the units
    that the trimming leaves out.
    """

    estimate: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n: int | None = None
    n_baseline: int | None = None
    left_out: float = 0.0
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """An estimate and what each of the sample's units adds to it: `influence` [n], 0 where unused.

    Its variance is the sum of squared influences (of clusters' sums, where there are clusters).
    `doubt`: why there is no error, or (where `theta` is nan) no estimate.
    """

    theta: float
    influence: Floats
    n: int = 0
    n_baseline: int = 0
    left_out: float = 0.0
    doubt: str | None = None

    @classmethod
    def none(cls, doubt: str, size: int, n: int = 0, n_baseline: int = 0) -> Solved:
        """No estimate, for the reason given."""
        return cls(math.nan, np.zeros(size), n, n_baseline, 0.0, doubt)


def covariance(
    solved: Sequence[Solved], cluster: Ints | None = None, mine: Bools | None = None
) -> Floats:
    """Covariance [k, k] of estimates from the same sample's units.

    Clusters: G / (G - 1) times the products of the clusters' sums of influences; with `mine` [n],
    who of the units is in the arm, each side's sums are `shared` first, and no factor is needed.
    Source: Liang and Zeger (1986), Biometrika 73, 13-22; Chiang, Kato, Ma and Sasaki (2022),
    Journal of Business & Economic Statistics 40, 1046-1056 (with cross-fitting).
    """
    phi = np.stack([s.influence for s in solved])
    if cluster is None:
        return np.asarray(phi @ phi.T)
    used = (phi != 0.0).any(axis=0)
    if mine is not None:
        sums = shared(phi[:, used], cluster[used], mine[used]).sums.sum(axis=0)
        return np.asarray(sums @ sums.T)
    sums = clustered(phi[:, used], cluster[used])
    groups = sums.shape[1]
    return np.asarray(sums @ sums.T * (groups / max(groups - 1, 1)))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Clusters of the two sides of a comparison: `sums` [2, k, G] of influences, `sizes` [2, G].

    `df` are the degrees of freedom of a t; `doubt` says why there is no error.
    """

    sums: Floats
    sizes: Floats
    df: float
    doubt: str | None


def shared(phi: Floats, cluster: Ints, mine: Bools) -> Shared:
    """What clusters add to estimates whose units' influences are `phi` [k, n]; who is in the arm.

    Of each side, a cluster's sum over 1 - h, h its part of the side's units, times
    sqrt((G - 1) / G): the jackknife of a mean, as large clusters pull the mean towards themselves
    (MacKinnon, Nielsen and Webb 2023, Journal of Applied Econometrics 38, 671-694; CV3). Where
    clusters are of one size that is G / (G - 1). Degrees of freedom: Welch's of the two sides, with
    (sum n)^2 / sum n^2 clusters each (Carter, Schnepel and Steigerwald 2017, Review of Economics
    and Statistics 99, 698-709), but at most those of sides that vary alike, and one less than
    all clusters count for.
    """
    _, place = np.unique(cluster, return_inverse=True)
    groups = int(place.max(initial=-1)) + 1
    sums = np.zeros((2, len(phi), groups))
    sizes = np.stack([np.bincount(place[s], minlength=groups) for s in (mine, ~mine)]).astype(float)
    for at, side in enumerate((mine, ~mine)):
        size = sizes[at]
        own = int((size > 0).sum())
        if own < 2 or thin(size[size > 0]):
            return Shared(sums, sizes, 0.0, THIN)
        scale = math.sqrt((own - 1.0) / own) / (1.0 - size / size.sum())
        for i, row in enumerate(phi):
            sums[at, i] = scale * np.bincount(place[side], row[side], minlength=groups)
    told = [effective(s) for s in sizes]
    spread = [float(np.square(s[0]).sum()) for s in sums]
    alike = welch_df([1.0 / n for n in told], told)
    df = min(welch_df(spread, told), alike, effective(sizes.sum(axis=0)) - 1.0)
    return Shared(sums, sizes, df, None)


def clustered(phi: Floats, cluster: Ints) -> Floats:
    """Sums of `phi` [k, n] by cluster: [k, G]."""
    _, place = np.unique(cluster, return_inverse=True)
    return np.stack([np.bincount(place, row) for row in phi])


def effect(
    solved: Solved, cluster: Ints | None = None, alpha: float = 0.05, mine: Bools | None = None
) -> Effect:
    """The estimate with its interval by Student's t: units (or clusters) used, less one, in df.

    With clusters and `mine` [n], who of the units is in the arm: errors and degrees of freedom as
    in `shared`, which few or uneven clusters of one side want.
    """
    counts = {"n": solved.n, "n_baseline": solved.n_baseline, "left_out": solved.left_out}
    if not math.isfinite(solved.theta):
        return Effect(**counts, note=solved.doubt or NOT_FINITE)  # type: ignore[arg-type]
    if solved.doubt is not None:
        return Effect(solved.theta, **counts, note=solved.doubt)  # type: ignore[arg-type]
    used = solved.influence != 0.0
    groups = int(used.sum()) if cluster is None else len(np.unique(cluster[used]))
    if groups < 2:
        return Effect(solved.theta, **counts, note=ONE_CLUSTER)  # type: ignore[arg-type]
    # in units of the largest influence: squares of huge or tiny ones have no number
    top = float(np.abs(solved.influence).max())
    unit = dataclasses.replace(solved, influence=solved.influence / top)
    df = groups - 1.0
    if cluster is not None and mine is not None:
        told = shared(unit.influence[None, used], cluster[used], mine[used])
        if told.doubt is not None:
            return Effect(solved.theta, **counts, note=told.doubt)  # type: ignore[arg-type]
        df = told.df
    std_error = top * math.sqrt(float(covariance([unit], cluster, mine)[0, 0]))
    if not math.isfinite(std_error):
        return Effect(**counts, note=NOT_FINITE)  # type: ignore[arg-type]
    half = float(special.stdtrit(df, 1.0 - alpha / 2.0)) * std_error
    p_value = 2.0 * float(special.stdtr(df, -abs(solved.theta) / std_error))
    ends = (solved.theta - half, solved.theta + half)
    return Effect(solved.theta, std_error, *ends, p_value, **counts)  # type: ignore[arg-type]


def combine(solved: Sequence[Solved], weights: Sequence[float]) -> Solved:
    """sum of weight x estimate, such as one arm's effect less another's, or margin less cost."""
    used = [(s, w) for s, w in zip(solved, weights, strict=True) if w != 0.0]
    doubt = next((s.doubt for s, _ in used if s.doubt is not None and math.isnan(s.theta)), None)
    if not used or doubt is not None:
        return Solved.none(doubt or CONSTANT, len(solved[0].influence))
    phi = sum((w * s.influence for s, w in used), np.zeros(len(used[0][0].influence)))
    theta = math.fsum(w * s.theta for s, w in used)
    left_out = max(s.left_out for s, _ in used)
    counts = (min(s.n for s, _ in used), min(s.n_baseline for s, _ in used))
    silent = all(s.doubt is not None for s, _ in used)
    return Solved(theta, phi, *counts, left_out, used[0][0].doubt if silent else None)


def naive(
    arm: Ints, y: Floats, one: int, base: int, rows: Ints | None = None, size: int | None = None
) -> Solved:
    """Difference of two arms' plain means; its variance is Welch's, s1^2 / n1 + s0^2 / n0.

    `arm` and `y` [m] are of the units `rows` of a sample of `size` (None: they are the sample).
    """
    size = len(y) if size is None else size
    places = np.arange(len(y)) if rows is None else rows
    phi = np.zeros(size)
    means, counts, spread = [], [], 0.0
    if len(y) and math.isfinite(y[0]):
        y = y - y[0]  # a difference of sums of huge numbers would lose its digits
    for code, sign in ((one, 1.0), (base, -1.0)):
        mine = arm == code
        n = int(mine.sum())
        if n < 2:
            return Solved.none("too_few_units: an arm has fewer than two units", size)
        mean = float(y[mine].mean())
        phi[places[mine]] = sign * (y[mine] - mean) / math.sqrt(n * (n - 1.0))
        means.append(mean)
        counts.append(n)
        spread = max(spread, float(np.ptp(y[mine])))
    doubt = None if spread > 0.0 else CONSTANT
    return Solved(means[0] - means[1], phi, counts[0], counts[1], 0.0, doubt)
