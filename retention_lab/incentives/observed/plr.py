"""Cross-fitted chances and outcomes in; the partially linear model's effect out."""

from __future__ import annotations

import numpy as np

from retention_lab.incentives.observed.aipw import NONE_LEFT
from retention_lab.incentives.observed.crossfit import Crossed
from retention_lab.incentives.observed.effects import CONSTANT, GRAIN, Solved


def partially_linear_effect(c: Crossed, one: int, base: int = 0) -> Solved:
    """The slope of what x leaves of the outcome on what it leaves of the treatment (Robinson).

    y - l(x) on d - e(x) among units of the two arms: theta = sum d~ y~ / sum d~^2, influence
    d~ (y~ - theta d~) / sum d~^2. No further fit: e = p_one / (p_one + p_base), and
    l = e mu_one + (1 - e) mu_base, as E(y | x) is. Nobody is trimmed: units weigh by e (1 - e), so
    where effects differ between units it is that of those who could have been in either arm.
    Source: Robinson (1988), Econometrica 56, 931-954; Chernozhukov et al. (2018), equation 4.4.
    """
    if c.doubt is not None:
        return Solved.none(c.doubt, c.size)
    rows = np.flatnonzero((c.arm == one) | (c.arm == base))
    mine = c.arm[rows] == one
    n, n_base = int(mine.sum()), int((~mine).sum())
    if min(n, n_base) < 2:
        return Solved.none(NONE_LEFT, c.size, n, n_base)
    p, q = c.chance[rows, one], c.chance[rows, base]
    e = p / np.where(p + q > 0.0, p + q, 1.0)
    d = mine - e
    y = c.y[rows] - e * c.expected[one][rows] - (1.0 - e) * c.expected[base][rows]
    spread = float(np.square(d).sum())
    if spread <= GRAIN * len(d):
        return Solved.none(
            "no_overlap: who is in the arm follows from the covariates", c.size, n, n_base
        )
    theta = float(d @ y) / spread
    influence = d * (y - theta * d) / spread
    wide = max(float(np.ptp(c.y[rows[mine]])), float(np.ptp(c.y[rows[~mine]])))
    still = wide == 0.0 or float(np.sqrt(np.square(influence).sum())) <= GRAIN * wide
    phi = np.zeros(c.size)
    phi[c.rows[rows]] = influence * c.scale
    return Solved(theta * c.scale, phi, n, n_base, doubt=CONSTANT if still else None)
