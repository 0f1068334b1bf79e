"""What an arm's customers spent, sent back and redeemed against the control's in; a ledger out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retention_lab.data.moments import Floats
from retention_lab.incentives.arms.carriers import FEW, effective, few_carry
from retention_lab.incentives.arms.fieller import Region, critical, fieller, tail
from retention_lab.incentives.arms.means import FLAT, TOO_FEW, Contrast, Means

REVENUE, RETURNS, REDEEMED, BOUGHT = "revenue", "returns", "redeemed", "bought"
PAID = "paid"  # what redemptions cost, where one by the control costs something else
NO_COST = (
    "no_cost: the costs that the file names add up to nothing, so there is no return per dollar"
)
COST_UNSURE = (
    "cost_not_above_zero: the incremental cost is not clearly above 0, so a return per dollar "
    "has no finite interval"
)
SAVES = "cost_negative: the arm cost less than the control, so a return per dollar has no meaning"
NEGATIVE_MARGIN = "negative_margin: every dollar of orders loses money before the incentive"
CONTROL_REDEEMS = "control_redeems: customers of the control redeemed too; their cost is taken off"
NOBODY = "nobody_redeems: no customer of the arm redeemed the incentive"
NOT_TOGETHER = (
    "not_together: how many redeemed and bought is known only where units were dealt one by one, "
    "each redeems once at most, and nothing is adjusted"
)
FEW_BUYERS = (
    "few_buyers: in effect a few customers of an arm carry its revenue (fewer than five, or than "
    "25 where the arm makes nearly all of the error); the interval is likely too short"
)
AT_LEAST = (
    "at_least: a lower bound; exact if everyone whom the incentive made buy redeemed it, and it "
    "kept nobody from buying"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """What the shop earns and pays, in its currency.

    `margin` is the goods' margin as a share of revenue after returns; `contact` what it costs to
    reach one customer of the arm; `redemption` what one redemption costs, and `by_control` what one
    by the control does (None: as much); `min_roi` the least incremental margin per unit of
    incremental cost that the shop wants.
    """

    margin: float
    contact: float = 0.0
    redemption: float = 0.0
    min_roi: float = 2.0
    by_control: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger, per customer of the arm unless it is a share or a ratio."""

    estimand: str
    estimate: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Said:
    """How sure intervals are, from how many degrees of freedom; `doubt`: why there are none."""

    alpha: float
    df: float
    doubt: str | None


def ledger(columns: tuple[str, ...], found: Contrast, terms: Terms, alpha: float) -> list[Line]:
    """The lines of the ledger of one arm against the control.

    `columns` names what `found` holds: `revenue` always; `returns` (refunded value), `redeemed`
    (redemptions a customer) and `bought` (0 or 1) where they are known.

    With d the differences of means: margin M = margin (d_revenue - d_returns); cost C = contact +
    redemption d_redeemed, which counts everyone who redeems (the control's at their own price,
    where that is another); profit M - C; margin per dollar M / C
    and return on the incentive M / C - 1, with Fieller's interval; the cost of a contact at which
    profit is 0. All are linear in the means, or ratios of two that are, so errors are exact given
    the means' covariance; quantiles are normal, or Student's where clusters were randomised.
    """
    at = {name: i for i, name in enumerate(columns)}
    redeemed, returned = REDEEMED in at, RETURNS in at
    theirs = terms.redemption if terms.by_control is None else terms.by_control
    apart = redeemed and theirs != terms.redemption
    if apart:
        found = _priced(found, at[REDEEMED], terms.redemption, theirs)
        at[PAID] = len(columns)
    k = len(at)

    def weights(**parts: float) -> Floats:
        w = np.zeros(k)
        for name, value in parts.items():
            w[at[name]] = value
        return w

    d, v = found.difference, found.covariance
    said = _Said(alpha, found.df, found.doubt)
    goods = weights(revenue=terms.margin)
    if returned:
        goods = goods - weights(returns=terms.margin)
    paid = np.zeros(k)
    if apart:
        paid = weights(paid=1.0)
    elif redeemed and terms.redemption:
        paid = weights(redeemed=terms.redemption)

    def linear(name: str, w: Floats, constant: float = 0.0, note: str | None = None) -> Line:
        return _line(name, constant + float(w @ d), float(w @ v @ w), said, note)

    thin = FEW_BUYERS if _thin(found, at[REVENUE]) else None
    loses = NEGATIVE_MARGIN if terms.margin < 0 else thin
    leak = redeemed and found.base.mean[at[REDEEMED]] > 0 and not (apart and theirs == 0.0)
    leaked = CONTROL_REDEEMS if leak else None
    lines = [linear("incremental_revenue", weights(revenue=1.0), note=thin)]
    if returned:
        lines.append(linear("incremental_returns", weights(returns=1.0)))
    lines += [
        linear("incremental_margin", goods, note=loses),
        _line("cost_contact", terms.contact, 0.0, said, None),
    ]
    if redeemed:
        lines.append(linear("cost_redemption", paid, note=leaked))
    lines += [
        linear("incremental_cost", paid, terms.contact, leaked),
        linear("incremental_profit", goods - paid, -terms.contact, loses),
        *(
            dataclasses.replace(line, note=line.note or thin)
            for line in _per_dollar(d, v, goods, paid, terms, said)
        ),
        linear("break_even_cost", goods - paid, note=thin),
        _ratio(found, at[REVENUE], said),
    ]
    if redeemed:
        lines += _redeemers(found, at, said)
    return lines


def _priced(found: Contrast, at: int, arm: float, base: float) -> Contrast:
    """With one column more: the column at `at`, times a price that differs between the arms."""
    place = np.r_[np.arange(len(found.arm.mean)), at]
    own, other = (np.r_[np.ones(len(place) - 1), price] for price in (arm, base))

    def scaled(v: Floats, rows: Floats, columns: Floats) -> Floats:
        return np.asarray(v[np.ix_(place, place)] * np.outer(rows, columns))

    def means(m: Means, by: Floats) -> Means:
        return dataclasses.replace(
            m, mean=m.mean[place] * by, covariance=scaled(m.covariance, by, by)
        )

    return dataclasses.replace(
        found,
        arm=means(found.arm, own),
        base=means(found.base, other),
        shared_arm=scaled(found.shared_arm, own, own),
        shared_base=scaled(found.shared_base, other, other),
        shared_both=scaled(found.shared_both, own, other),
    )


def _thin(found: Contrast, at: int) -> bool:
    """Whether too few units of an arm carry its revenue; never where clusters were randomised."""
    both = (found.arm, found.base)
    if any(m.n != m.units or not m.mean[at] > 0.0 for m in both):
        return any(_alone(m, at) < FEW for m in both)
    return few_carry([_alone(m, at) for m in both], [float(m.covariance[at, at]) for m in both])


def _alone(m: Means, at: int) -> float:
    """Units that carry the mean of a column; infinite for clusters, and for no mean above 0."""
    mean = float(m.mean[at])
    if m.n != m.units or not mean > 0.0:
        return math.inf
    return effective(m.n, mean, float(m.covariance[at, at]) * m.n)


def _line(name: str, estimate: float, variance: float, said: _Said, note: str | None) -> Line:
    if not math.isfinite(estimate):
        return Line(name, note="empty_arm: the arm has no units")
    if said.doubt or not math.isfinite(variance):
        return Line(name, estimate, note=said.doubt or TOO_FEW)
    if variance <= 0.0:
        return Line(name, estimate, note=note)
    error = math.sqrt(variance)
    half = critical(said.alpha, said.df) * error
    p = 2.0 * tail(-abs(estimate) / error, said.df)
    return Line(name, estimate, error, estimate - half, estimate + half, p, note)


def _per_dollar(
    d: Floats, v: Floats, goods: Floats, paid: Floats, terms: Terms, said: _Said
) -> list[Line]:
    """Margin per dollar of cost, its excess over 1, and how likely it is above `min_roi`."""
    names = ("margin_per_dollar", "roi", "probability_above_min_roi")
    margin, cost = float(goods @ d), terms.contact + float(paid @ d)
    vm, vc, cov = float(goods @ v @ goods), float(paid @ v @ paid), float(goods @ v @ paid)
    reason = None
    if not math.isfinite(margin + cost):
        reason = "empty_arm: the arm has no units"
    elif cost == 0.0:
        reason = NO_COST
    elif cost < 0.0:
        reason = SAVES
    if reason is not None:
        return [Line(name, note=reason) for name in names]
    value = margin / cost
    if said.doubt or not math.isfinite(vm + vc):
        why = said.doubt or TOO_FEW
        known = [Line(n, value - i, note=why) for i, n in enumerate(names[:2])]
        return [*known, Line(names[2], note=why)]
    # None where it is known to the digit, as with a margin of 0.
    error = math.sqrt(max(vm - 2.0 * value * cov + value * value * vc, 0.0)) / cost or None
    region = fieller(margin, cost, vm, vc, cov, said.alpha, said.df)
    excess = math.sqrt(max(vm - 2.0 * terms.min_roi * cov + terms.min_roi**2 * vc, 0.0))
    beyond = margin - terms.min_roi * cost
    sure = tail(beyond / excess, said.df) if excess > 0.0 else float(beyond > 0.0)
    low, high, note = _ends(region, COST_UNSURE)
    return [
        Line(names[0], value, error, low, high, note=note),
        Line(
            names[1],
            value - 1.0,
            error,
            None if low is None else low - 1.0,
            None if high is None else high - 1.0,
            note=note,
        ),
        Line(names[2], sure, note=note),
    ]


def _ends(region: Region, otherwise: str) -> tuple[float | None, float | None, str | None]:
    if region.shape != "interval":
        return None, None, otherwise
    return region.low, region.high, None


def _ratio(found: Contrast, at: int, said: _Said) -> Line:
    """The arm's mean revenue over the control's."""
    name = "revenue_ratio"
    mean, v = found.joint()
    k = len(found.arm.mean)
    x, y, i, j = float(mean[at]), float(mean[k + at]), at, k + at
    if not math.isfinite(x + y) or y <= 0.0:
        return Line(name, note="zero_baseline: the control's mean is not above 0")
    if said.doubt:
        return Line(name, x / y, note=said.doubt)
    ratio = x / y
    error = math.sqrt(max(v[i, i] - 2 * ratio * v[i, j] + ratio * ratio * v[j, j], 0.0)) / y
    if not error > 0.0:
        return Line(name, ratio, note=FLAT)
    region = fieller(x, y, float(v[i, i]), float(v[j, j]), float(v[i, j]), said.alpha, said.df)
    low, high, note = _ends(region, "unbounded: the control's mean is not clearly above 0")
    return Line(name, ratio, error, low, high, note=note)


def _redeemers(found: Contrast, at: dict[str, int], said: _Said) -> list[Line]:
    """How many redeem, and how many of them would have bought anyway.

    At least (q - (p1 - p0)) / r of those who redeem, with p the shares that bought in arm and
    control, r the share that redeemed and q the share that did both: of those who would have bought
    anyway (p0) only those who bought without redeeming (p1 - q) did not redeem, where everyone whom
    the incentive made buy redeemed it and it kept nobody from buying. Redeeming alone is no
    purchase, so that 1 - (p1 - p0) / r would be too much where q is below r.
    """
    i = at[REDEEMED]
    rate, spread = float(found.arm.mean[i]), float(found.arm.covariance[i, i])
    spread += float(found.shared_arm[i, i])
    lines = [_line("redemption_rate", rate, spread, said, NOBODY if rate <= 0 else None)]
    other = float(found.base.mean[i])
    if other > 0.0:
        theirs = float(found.base.covariance[i, i] + found.shared_base[i, i])
        lines.append(_line("control_redemption_rate", other, theirs, said, None))
    if BOUGHT not in at:
        return lines
    name = "redeemed_anyway"
    if not rate > 0.0:
        return [*lines, Line(name, note=NOBODY)]
    b = at[BOUGHT]
    without = _bought_only(found, b, i)
    if without is None:
        return [*lines, Line(name, note=NOT_TOGETHER)]
    anyway = float(found.base.mean[b]) - without
    share = min(max(anyway / rate, 0.0), 1.0)
    n = found.arm.n
    if said.doubt or n < 2:
        return [*lines, Line(name, share, note=said.doubt or TOO_FEW)]
    # Having bought without redeeming is 0 or 1, and never goes with redeeming.
    vx = without * (1.0 - without) / (n - 1) + float(found.base.covariance[b, b])
    cov = without * rate / (n - 1)
    region = fieller(anyway, rate, vx, spread, cov, said.alpha, said.df)
    low, high, note = _ends(region, "unbounded: too few redeemed to say")
    slope = anyway / rate
    error = math.sqrt(max(vx - 2 * slope * cov + slope * slope * spread, 0.0)) / rate
    if low is None or high is None:
        return [*lines, Line(name, share, error, note=note)]
    low, high = (min(max(e, 0.0), 1.0) for e in (low, high))
    return [*lines, Line(name, share, error, low, high, note=AT_LEAST)]


def _bought_only(found: Contrast, b: int, i: int) -> float | None:
    """The share of the arm that bought (column `b`) and did not redeem (column `i`).

    None where the arm's covariances are not those of its units (clusters, adjusted, weighted), or
    one of the two is not 0 or 1.
    """
    n, mean = found.arm.n, found.arm.mean
    shared = (found.shared_arm, found.shared_base, found.shared_both)
    if n != found.arm.units or found.groups is not None or any(s.any() for s in shared):
        return None
    moment = found.arm.covariance * (n - 1)  # per unit: mean of products less product of means
    for k in (b, i):
        if not math.isclose(moment[k, k], mean[k] * (1.0 - mean[k]), rel_tol=1e-6, abs_tol=1e-12):
            return None
    both = float(moment[b, i] + mean[b] * mean[i])
    only = float(mean[b]) - both
    return only if only > 1e-12 else 0.0
