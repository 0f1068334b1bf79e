"""Moments by cluster in; levels whose error is that of whole clusters, and their covariates, out.

Where stores, markets or hours were randomised, not customers, customers of one cluster are not
independent. An arm's mean is then a ratio of two sums over clusters: of the values, and of the
units (or of the denominator).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retention_lab.ab.estimate import EMPTY, EPS, NO_DENOMINATOR, NOT_FINITE, Level
from retention_lab.ab.rolled import Rolled
from retention_lab.clusters import THIN, UNLIKE, thin, unlike
from retention_lab.data.moments import Floats, Moments
from retention_lab.experiment.needs import Needs


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """Levels by cell, and moments in which every cluster is one unit.

    In `moments` the outcome's column holds the cluster's part in the error of the level, and a
    covariate's column its sum over the cluster's units of what they lie above the common mean.
    """

    moments: Moments
    levels: tuple[Level, ...]


@np.errstate(over="ignore", invalid="ignore")
def by_cluster(m: Moments | Rolled, cluster: str, need: Needs, *keys: str) -> Clustered:
    """The levels of one metric by `keys`, from the sums of its clusters.

    R = sum Y_g / sum D_g, with the jackknife's variance over clusters, (G - 1) / G times the sum of
    (R without g - R)^2, where R without g - R = -(Y_g - R D_g) / (sum D - D_g). The error that does
    not leave its own cluster out is too small for few or uneven clusters. Its degrees of freedom
    are those of a quadratic form where units are independent, with u = p / (1 - p) and p the
    cluster's share of sum D: (sum u)^2 / (sum u^2 + (sum u^2)^2 - sum u^4), G - 1 for even ones.
    Sources: MacKinnon, Nielsen and Webb (2023), "Fast and reliable jackknife and bootstrap methods
    for cluster-robust inference", Journal of Applied Econometrics 38(5), 671-694 (CV3); Bell and
    McCaffrey (2002), "Bias reduction in standard errors for linear regression with multi-stage
    samples", Survey Methodology 28(2), 169-181 (the degrees of freedom).
    """
    parts = m.roll_up(*keys, cluster)
    y, d = need.numerator.name, need.denominator.name if need.denominator else None
    at = parts.pair(y, d)
    count = parts.n[:, at].astype(np.float64)
    shift = parts.origin.get(y, 0.0)
    if d is None:
        values, below = count * parts.mean_x[:, at], count
    else:
        values = count * (shift + parts.mean_x[:, at])
        below = count * (parts.origin.get(d, 0.0) + parts.mean_y[:, at])
    names = [c.name for c in need.covariates]
    above = np.stack([_above(parts, name, count) for name in names], axis=1) if names else None
    inside: dict[tuple[str, ...], list[int]] = {c[: len(keys)]: [] for c in sorted(parts.cells)}
    for row, c in enumerate(parts.cells):
        if count[row] > 0:
            inside[c[: len(keys)]].append(row)
    cells = tuple(inside)
    columns = (y, *names)
    pairs = tuple((a, b) for i, a in enumerate(columns) for b in columns[: i + 1])
    pairs = tuple((b, a) if a != y and b == y else (a, b) for a, b in pairs)
    shape = (len(cells), len(pairs))
    mean_x, mean_y, comoment = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    size = np.zeros(len(cells), np.int64)
    levels = []
    for i, cell in enumerate(cells):
        rows = inside[cell]
        size[i] = len(rows)
        others = [below[r] for c, r in inside.items() if c != cell and c[1:] == cell[1:]]
        level, error = _level(values[rows], below[rows], shift if d is None else None)
        if level.doubt is None and any(unlike(below[rows], other) for other in others):
            level = dataclasses.replace(level, variance=math.nan, doubt=UNLIKE)
        levels.append(level)
        table = {y: error}
        if above is not None and rows:
            typical = below[rows].mean() or 1.0
            table |= {name: above[rows, j] / typical for j, name in enumerate(names)}
        for k, (a, b) in enumerate(pairs):
            u, v = table.get(a, np.zeros(0)), table.get(b, np.zeros(0))
            if len(u):
                mean_x[i, k], mean_y[i, k] = u.mean(), v.mean()
                comoment[i, k] = float((u - u.mean()) @ (v - v.mean()))
    n = np.repeat(size[:, None], len(pairs), axis=1)
    return Clustered(Moments(keys, pairs, cells, size, n, mean_x, mean_y, comoment), tuple(levels))


def _above(m: Moments, name: str, count: Floats) -> Floats:
    """By cluster: the sum of a covariate less its mean over the arms' clusters in its segment."""
    segments = [c[1:-1] for c in m.cells]
    place = {s: i for i, s in enumerate(dict.fromkeys(segments))}
    to = np.array([place[s] for s in segments], np.intp)
    mean, total = m.mean_x[:, m.pair(name)], np.bincount(to, count)
    centre = np.bincount(to, count * mean) / np.where(total > 0.0, total, 1.0)
    return np.asarray(count * (mean - centre[to]))


def _level(values: Floats, below: Floats, shift: float | None) -> tuple[Level, Floats]:
    """The ratio of the sums, and every cluster's part in its error; `shift` is added to it."""
    clusters, total = len(values), float(below.sum())
    nothing = np.zeros(clusters)
    if clusters == 0:
        return Level(math.nan, math.nan, 0, doubt=EMPTY), nothing
    if total == 0.0:
        return Level(math.nan, math.nan, clusters, doubt=NO_DENOMINATOR), nothing
    ratio = float(values.sum()) / total
    estimate, offset = ratio + (shift or 0.0), ratio if shift is not None else None
    if not math.isfinite(ratio):
        return Level(math.nan, math.nan, clusters, doubt=NOT_FINITE), nothing
    if clusters < 2:
        return Level(estimate, math.nan, clusters, offset), nothing
    if thin(below):
        return Level(estimate, math.nan, clusters, offset, THIN), nothing
    share = np.clip(below / total, 0.0, 1.0 - EPS)
    # The jackknife's pseudo-values less R: their mean has the variance of a mean of G units.
    typical = total / clusters
    error = (values - ratio * below) / typical / (1.0 - share) * (1.0 - 1.0 / clusters)
    grain = 16 * EPS * (np.abs(values) + np.abs(ratio * below)).max() / abs(typical)
    error[np.abs(error) <= grain] = 0.0
    variance = float(error @ error) / clusters / (clusters - 1)
    return Level(estimate, variance, clusters, offset, df=_freedom(share), units=False), error


def _freedom(share: Floats) -> float:
    u = share / (1.0 - share)
    squares = u * u
    both = float(squares.sum()) ** 2 - float(squares @ squares)
    return float(u.sum()) ** 2 / (float(squares.sum()) + both)
