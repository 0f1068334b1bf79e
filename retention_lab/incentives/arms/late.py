"""Outcome and redemption of an arm against the control's in; the effect on redeemers out."""

from __future__ import annotations

import dataclasses
import math

from scipy import special

from retention_lab.incentives.arms.fieller import Region, critical, fieller, tail
from retention_lab.incentives.arms.means import FLAT, TOO_FEW, Contrast

WEAK = 10.0  # F of the first stage below which an instrument is called weak
NOBODY = (
    "nobody_redeems: no more redeemed in the arm than in the control, so the effect of redeeming "
    "is not known"
)
EVERYBODY = "everybody_redeems: everyone in the arm redeemed, so this is the effect of the arm"
WEAK_NOTE = (
    f"weak_instrument: F of the first stage is below {WEAK:.0f}; read the interval, which holds"
)
UNBOUNDED = "ar_unbounded: the offer moved redemption too little; no effect can be ruled out"
DISJOINT = (
    "ar_disjoint: the offer moved redemption too little; the values not ruled out are those up to "
    "{low:.4g} and those from {high:.4g} on"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Late:
    """The local average treatment effect: of redeeming, on those whom the offer made redeem.

    `estimate` with `std_error` (delta method, the one of two-stage least squares that is robust to
    unequal variances); `region` is Anderson and Rubin's confidence set, `p_value` their test of no
    effect, both valid however weak the offer is; `strength` is the F of the first stage.
    """

    first_stage: float
    first_stage_error: float | None
    strength: float | None
    estimate: float | None
    std_error: float | None
    region: Region | None
    p_value: float | None
    note: str | None


def late(found: Contrast, alpha: float = 0.05) -> Late:
    """The effect on redeemers; `found` holds the columns (outcome, redeemed), in this order.

    beta = d_y / d_r (Wald's estimator; Imbens and Angrist 1994, Econometrica 62(2), 467-475), with
    variance (v_yy - 2 beta v_yr + beta^2 v_rr) / d_r^2. The confidence set holds every b for which
    d_y - b d_r is not clearly different from 0 (Anderson and Rubin 1949, Annals of Mathematical
    Statistics 20(1), 46-63); it may be unbounded or all but an interval. Needs: the offer moves the
    outcome only through redemption, and makes nobody redeem less.
    """
    (y, r), v = (float(x) for x in found.difference), found.covariance
    if not math.isfinite(y + r):
        return Late(r, None, None, None, None, None, None, "empty_arm: an arm has no units")
    vy, vr, cov = float(v[0, 0]), float(v[1, 1]), float(v[0, 1])
    if found.doubt or not math.isfinite(vy + vr):
        beta = y / r if r != 0.0 else None
        return Late(r, None, None, beta, None, None, None, found.doubt or TOO_FEW)
    first_error = math.sqrt(vr) if vr > 0.0 else None
    if r <= 0.0:
        return Late(r, first_error, None, None, None, None, None, NOBODY)
    strength = r * r / vr if vr > 0.0 else None
    beta = y / r
    error = math.sqrt(max(vy - 2.0 * beta * cov + beta * beta * vr, 0.0)) / r
    if not error > 0.0:
        return Late(r, first_error, strength, beta, None, None, None, FLAT)
    region = fieller(y, r, vy, vr, cov, alpha, found.df)
    p = 2.0 * tail(-abs(y) / math.sqrt(vy), found.df) if vy > 0.0 else None
    return Late(r, first_error, strength, beta, error, region, p, _note(found, region, strength))


def _note(found: Contrast, region: Region, strength: float | None) -> str | None:
    if region.shape == "everything":
        return UNBOUNDED
    if region.shape == "outside":
        return DISJOINT.format(low=region.low, high=region.high)
    if strength is not None and strength < WEAK:
        return WEAK_NOTE
    return EVERYBODY if found.arm.mean[1] >= 1.0 and found.base.mean[1] <= 0.0 else None


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """What the effect would be if everyone redeemed: `low` to `high`, and an interval for both."""

    low: float
    high: float
    ci_low: float
    ci_high: float


def full_uptake(
    found: Contrast, lowest: float = 0.0, highest: float = 1.0, alpha: float = 0.05
) -> Bounds | None:
    """Bounds of the effect if everyone in the arm redeemed, for outcomes within two limits.

    Where nobody in the control redeems, the arm's customers that do not redeem show what they do
    without it; what they would do with it lies between `lowest` and `highest`:
    d_y + sum over non-redeemers of (limit - outcome) / n. Source: Manski (1990), American Economic
    Review 80(2), 319-323; Balke and Pearl (1997), JASA 92(439), 1171-1176. The interval is that of
    Imbens and Manski (2004), Econometrica 72(6), 1845-1857, each end with the error of its own
    bound. None where the control redeems, or an arm is too small. `found` must not be adjusted:
    its covariances are taken for those of the units.
    """
    n = found.arm.n
    if found.base.mean[1] > 0.0 or found.doubt or n != found.arm.units:
        return None
    y, r = (float(x) for x in found.arm.mean)
    unit = found.arm.covariance * n
    together = float(unit[0, 1]) * (n - 1) / n + y * r  # mean of outcome x redeemed
    ends, errors = [], []
    base = float(found.base.mean[0]), float(found.base.covariance[0, 0])
    for limit in (lowest, highest):
        # The arm's mean of y r + limit (1 - r), less the control's mean of y.
        ends.append(together + limit * (1.0 - r) - base[0])
        # y r + limit (1 - r) lies within the limits: variance at most that of its two points.
        mean = together + limit * (1.0 - r)
        spread = max((mean - lowest) * (highest - mean), 0.0)
        errors.append(math.sqrt(spread / n + base[1]))
    z = _imbens_manski(ends[1] - ends[0], max(errors), alpha)
    return Bounds(ends[0], ends[1], ends[0] - z * errors[0], ends[1] + z * errors[1])


def _imbens_manski(width: float, error: float, alpha: float) -> float:
    """c with Phi(c + width / error) - Phi(-c) = 1 - alpha, by bisection."""
    if error <= 0.0:
        return 0.0
    low, high = 0.0, critical(alpha)
    for _ in range(60):
        c = (low + high) / 2.0
        held = float(special.ndtr(c + width / error) - special.ndtr(-c))
        low, high = (c, high) if held < 1.0 - alpha else (low, c)
    return high
