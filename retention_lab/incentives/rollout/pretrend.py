"""Placebo effects before the start in; whether markets ran apart, and what would be seen, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from retention_lab.algebra import pseudo_inverse
from retention_lab.clusters import effective
from retention_lab.incentives.rollout.aggregate import Average
from retention_lab.incentives.rollout.few import ALONE, jackknife_scale
from retention_lab.incentives.rollout.staggered import Bools, Floats

POWER = 0.8
SHARE = 3  # markets of the smaller side for every placebo that is tested: fewer have no power
LEAST = 3  # markets that began together, below which they have no variance of their own


@dataclasses.dataclass(frozen=True, slots=True)
class Trend:
    """The joint test that no placebo differs from 0.

    `statistic` is Hotelling's F with `terms` and `df` degrees of freedom; `slope` is the difference
    in trend, in units of the outcome a period, that the test would see with `POWER`. `n` and
    `n_controls` are the markets on either side.
    """

    statistic: float
    terms: int
    df: float
    p_value: float
    slope: float
    n: int
    n_controls: int


def trend_test(placebos: Sequence[Average], alpha: float = 0.05) -> Trend | None:
    """Test `placebos` (averages by time before the start, each a change over one period).

    As many are tested as the markets allow, the latest first. Of a difference in trend each shows
    one period's worth, so the slope that is seen with 80 % power solves a non-central F (Roth 2022,
    American Economic Review: Insights 4, for the joint test). Markets that began together are one
    sample with a mean of its own, and so are those that never began: a placebo rests on few groups,
    the earliest on the last that began. None where a side has too few markets or nothing varies.
    """
    usable = [p for p in placebos if p.n > 1 and p.n_controls > 1]
    treated = np.any([p.treated for p in usable], axis=0) if usable else np.zeros(0, bool)
    involved = np.any([p.null != 0 for p in usable], axis=0) if usable else treated
    sides = int(treated.sum()), int((involved & ~treated).sum())
    # Where no market is never treated, all stand on one side.
    weight = usable[0].weight if usable else np.zeros(0)
    told = [effective(weight[s]) for s in (treated, involved & ~treated) if s.any()]
    few = int(min(told, default=0.0) + 1e-9) // SHARE
    usable = sorted(usable, key=lambda p: -(p.at or 0))[:few]
    if not usable:
        return None
    psi = np.array([p.influence for p in usable])
    samples = _samples(usable[0].start, treated | involved)
    if any(s.sum() < 2 for s in samples):
        return None
    parts = [_variance(psi, s, weight) for s in samples]
    if not parts or any(n < ALONE for _, n in parts):
        return None
    v = np.sum([part for part, _ in parts], axis=0)
    inverse, rank = pseudo_inverse(v, [max(abs(p.estimate), 1e-300) for p in usable])
    if not rank:
        return None
    freedom = _freedom(parts, inverse)
    df = freedom - rank + 1.0
    if df <= 1.0:
        return None
    b = np.array([p.estimate for p in usable])
    from scipy.stats import f as fisher

    part = df / (freedom * rank)
    statistic = float(b @ inverse @ b) * part
    one = np.ones(len(b))
    # The inverse of an estimated covariance is too large on average, by this much of a Wishart's.
    shrunk = max(df - 2.0, 0.0) / freedom
    seen = float(one @ inverse @ one) * part * shrunk
    centre = _centrality(rank, df, alpha) * part
    slope = float(np.sqrt(centre / seen)) if seen > 0 else float("inf")
    p_value = float(fisher.sf(statistic, rank, df))
    return Trend(statistic, rank, df, p_value, slope, *sides)


def _samples(start: Floats, some: Bools) -> list[Bools]:
    """(M) each: the markets that began together, of those in `some`; those that never began, last.

    Groups of fewer than `LEAST` are one sample, or join the smallest other where they are as few.
    """
    groups = [some & (start == g) for g in np.unique(start[some & np.isfinite(start)])]
    out = [g for g in groups if g.sum() >= LEAST]
    small = [g for g in groups if g.sum() < LEAST]
    if small:
        together = np.any(small, axis=0)
        if together.sum() < LEAST and out:
            at = int(np.argmin([g.sum() for g in out]))
            out[at] = out[at] | together
        else:
            out.append(together)
    never = some & np.isinf(start)
    return [*out, never] if never.any() else out


def _variance(psi: Floats, sample: Bools, weight: Floats) -> tuple[Floats, float]:
    """What one sample adds to the covariance of the placebos, and its markets in effect."""
    w = weight[sample]
    own = psi[:, sample] - psi[:, sample].mean(axis=1, keepdims=True)
    scaled = own * jackknife_scale(w)
    return np.asarray(scaled @ own.T / psi.shape[1] ** 2), effective(w)


def _freedom(parts: Sequence[tuple[Floats, float]], inverse: Floats) -> float:
    """Degrees of freedom of Hotelling's statistic with samples of unequal variance (Nel, van der
    Merwe 1986, Communications in Statistics 15)."""

    def size(v: Floats) -> float:
        own = v @ inverse
        return float(np.trace(own @ own) + np.trace(own) ** 2)

    whole = np.sum([part for part, _ in parts], axis=0)
    return size(whole) / sum(size(part) / (n - 1.0) for part, n in parts)


def _centrality(terms: int, df: float, alpha: float) -> float:
    """The non-centrality at which an F test at `alpha` rejects with `POWER`."""
    from scipy.optimize import brentq
    from scipy.stats import f as fisher
    from scipy.stats import ncf

    limit = float(fisher.isf(alpha, terms, df))

    def lacking(x: float) -> float:
        return float(ncf.sf(limit, terms, df, x)) - POWER

    high = 10.0
    while lacking(high) < 0 and high < 1e9:
        high *= 2.0
    return float(brentq(lacking, 0.0, high, xtol=1e-9))
