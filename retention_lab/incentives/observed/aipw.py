"""Cross-fitted chances and outcomes in; average effects, on everyone and on the treated, out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retention_lab.incentives.observed.crossfit import Crossed
from retention_lab.incentives.observed.effects import CONSTANT, GRAIN, Floats, Solved
from retention_lab.incentives.observed.overlap import comparable, comparable_treated

NONE_LEFT = "no_overlap: nobody of one of the arms is left to compare"


def average_effect(
    c: Crossed, one: int, base: int = 0, trim: float = 0.01, normalised: bool = False
) -> Solved:
    """What everyone would gain from arm `one` instead of `base` (AIPW, the doubly robust score).

    Mean over all comparable units of psi_one - psi_base,
    psi_a = mu_a(x) + 1(arm = a) (y - mu_a(x)) / p_a(x); variance: of psi less its mean. It holds
    for the units whose chance of either arm is at least `trim`; `left_out` is the share of the
    others. `normalised`: the weights 1 / p_a of an arm add up to the number of units (Hajek).
    Source: Robins, Rotnitzky and Zhao (1994), JASA 89, 846-866; Chernozhukov et al. (2018), The
    Econometrics Journal 21, C1-C68, equation 5.3; Crump et al. (2009), Biometrika 96, 187-199.
    """
    if c.doubt is not None:
        return Solved.none(c.doubt, c.size)
    keep = comparable(c, one, base, trim)
    n, n_base = int((keep & (c.arm == one)).sum()), int((keep & (c.arm == base)).sum())
    if min(n, n_base) < 2:
        return Solved.none(NONE_LEFT, c.size, n, n_base)
    psi = _potential(c, one, keep, normalised) - _potential(c, base, keep, normalised)
    theta = float(psi.mean())
    left_out = 1.0 - len(psi) / len(keep)
    return _solved(c, keep, theta, (psi - theta) / len(psi), n, n_base, left_out, (one, base))


def effect_on_treated(
    c: Crossed, one: int, base: int = 0, trim: float = 0.01, normalised: bool = False
) -> Solved:
    """What those in arm `one` gained from it, against `base`.

    Mean over them of y - mu_base(x), less the baseline's residuals, weighted as the arm is made up:
    p_one(x) / p_base(x), over the number of the arm. Left out are units whose chance of the
    baseline, of the two, is below `trim`; `left_out` is the share of them in arm `one`.
    `normalised`: the weights of the baseline add up to the number of the arm.
    Source: Chernozhukov et al. (2018), equation 5.4; Hahn (1998), Econometrica 66, 315-331.
    """
    if c.doubt is not None:
        return Solved.none(c.doubt, c.size)
    keep = comparable_treated(c, one, base, trim) & ((c.arm == one) | (c.arm == base))
    arm = c.arm[keep]
    mine, theirs = arm == one, arm == base
    n, n_base = int(mine.sum()), int(theirs.sum())
    if min(n, n_base) < 2:
        return Solved.none(NONE_LEFT, c.size, n, n_base)
    residual = c.y[keep] - c.expected[base][keep]
    odds = c.chance[keep, one] / np.where(theirs, c.chance[keep, base], 1.0)
    if normalised:
        odds *= n / odds[theirs].sum()
    part = np.where(mine, residual, 0.0) - np.where(theirs, odds * residual, 0.0)
    theta = float(part.sum()) / n
    left_out = 1.0 - n / max(int((c.arm == one).sum()), 1)
    influence = (part - np.where(mine, theta, 0.0)) / n
    return _solved(c, keep, theta, influence, n, n_base, left_out, (one, base))


def like_the_treated(c: Crossed, one: int, base: int = 0, trim: float = 0.01) -> float:
    """How many units of the baseline `effect_on_treated` rests on: (sum w)^2 / sum w^2.

    With w = p_one / p_base their weights; Kish (1965), Survey Sampling, section 11.2C.
    """
    theirs = comparable_treated(c, one, base, trim) & (c.arm == base)
    weight = c.chance[theirs, one] / c.chance[theirs, base]
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0.0 else 0.0


def average_level(c: Crossed, one: int, trim: float = 0.01, base: int = 0) -> Solved:
    """The mean outcome if everyone comparable were in arm `one`: for ratios and levels."""
    if c.doubt is not None:
        return Solved.none(c.doubt, c.size)
    keep = comparable(c, one, base, trim)
    n = int((keep & (c.arm == one)).sum())
    if n < 2:
        return Solved.none(NONE_LEFT, c.size, n)
    psi = _potential(c, one, keep, False)
    theta = float(psi.mean())
    left_out = 1.0 - len(psi) / len(keep)
    found = _solved(c, keep, theta, (psi - theta) / len(psi), n, n, left_out, (one,))
    return Solved(found.theta + c.centre, found.influence, found.n, n, found.left_out, found.doubt)


def _potential(c: Crossed, arm: int, keep: npt.NDArray[np.bool_], normalised: bool) -> Floats:
    """psi of one arm for the units that are kept."""
    mine = (c.arm == arm)[keep]
    expected = c.expected[arm][keep]
    weight = np.where(mine, 1.0, 0.0) / np.where(mine, c.chance[keep, arm], 1.0)
    if normalised:
        weight /= weight.mean()
    return np.asarray(expected + weight * (c.y[keep] - expected))


def _solved(
    c: Crossed,
    keep: npt.NDArray[np.bool_],
    theta: float,
    influence: Floats,
    n: int,
    n_base: int,
    left_out: float,
    arms: tuple[int, ...],
) -> Solved:
    """Back in the outcome's own units, and to the rows of the whole sample."""
    spread = max(float(np.ptp(c.y[keep & (c.arm == a)])) for a in arms)
    phi = np.zeros(c.size)
    phi[c.rows[keep]] = influence * c.scale
    size = float(np.sqrt(np.square(influence).sum()))
    doubt = CONSTANT if spread == 0.0 or size <= GRAIN * spread else None
    return Solved(theta * c.scale, phi, n, n_base, left_out, doubt)
