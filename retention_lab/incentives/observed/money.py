"""Outcomes of those who got the incentive in; their means with it and without it, jointly, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from retention_lab.incentives.observed.aipw import effect_on_treated
from retention_lab.incentives.observed.crossfit import Fitted
from retention_lab.incentives.observed.effects import Floats, Ints, covariance, shared
from retention_lab.incentives.observed.overlap import comparable_treated


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Means [k] of the arm as it is, `arm`, and as it would be in the control, `base`.

    `covariance` [2k, 2k] is of both, the arm's first; from `n` units and `n_baseline` of the other,
    in effect in `groups` clusters where there are any (one more than the degrees of freedom; 0: too
    few for an error).
    """

    arm: Floats
    base: Floats
    covariance: Floats
    n: int
    n_baseline: int
    groups: float | None = None


def treated_levels(
    fitted: Fitted, outcomes: Sequence[str], arm: str, trim: float, cluster: Ints | None = None
) -> Levels | None:
    """Means of `outcomes` in the arm, and what they would be without: less the effect on them.

    For a ledger: what an incentive cost and brought was paid and earned by those who got it. The
    joint covariance comes from the units' influences. None where the arm was too small or nobody
    like it is in the control.
    """
    own, effects = [], []
    counts = [0, 0]
    in_arm = np.zeros(len(fitted.fold), bool)
    for name in outcomes:
        c = fitted.crossed[name]
        if c.doubt is not None or arm not in c.arms:
            return None
        one = c.arms.index(arm)
        found = effect_on_treated(c, one, 0, trim)
        if np.isnan(found.theta):
            return None
        in_arm[c.rows[c.arm == one]] = True
        mine = (c.arm == one) & comparable_treated(c, one, 0, trim)
        y = c.y[mine] * c.scale
        influence = np.zeros(c.size)
        influence[c.rows[mine]] = (y - y.mean()) / len(y)
        own.append((float(y.mean()) + c.centre, influence))
        theirs = c.y[(c.arm == 0) & comparable_treated(c, one, 0, trim)]
        if len(theirs) and float(np.ptp(theirs)) == 0.0:
            # All alike without it (nobody redeems): known to the digit, not but for rounding.
            level = own[-1][0] - (float(theirs[0]) * c.scale + c.centre)
            found = dataclasses.replace(found, theta=level, influence=influence)
        effects.append(found)
        counts = [found.n, found.n_baseline]
    k = len(outcomes)
    without = [
        dataclasses.replace(e, theta=m - e.theta, influence=phi - e.influence)
        for (m, phi), e in zip(own, effects, strict=True)
    ]
    with_it = [
        dataclasses.replace(e, theta=m, influence=phi)
        for (m, phi), e in zip(own, effects, strict=True)
    ]
    both = [*with_it, *without]
    means = np.array([s.theta for s in both])
    if cluster is None:
        return Levels(means[:k], means[k:], covariance(both), counts[0], counts[1])
    used = np.any([s.influence != 0.0 for s in both], axis=0)
    phi = np.stack([e.influence[used] for e in effects])
    told = shared(phi, cluster[used], in_arm[used])
    if told.doubt is not None:  # no error, so no interval
        return Levels(means[:k], means[k:], covariance(both, cluster), counts[0], counts[1], 0.0)
    v = covariance(both, cluster, in_arm)
    return Levels(means[:k], means[k:], v, counts[0], counts[1], told.df + 1.0)
