"""The value distributions of two arms in; quantiles, their difference and lift out."""

from __future__ import annotations

import dataclasses
import math

from scipy import special

from retention_lab.ab.estimate import EMPTY, NOT_FINITE, UNBOUNDED, Estimate
from retention_lab.data.values import Distribution

Ends = tuple[float, float]

LEAST = 1e-15  # p-values below it are reported as it
FEW_BEYOND = "too_few_units: too few units lie above or below the quantile for an interval"
AT_ATOM = "at_atom: so many units share the quantile's value that its interval has no width"


def quantile(d: Distribution, q: float) -> float | None:
    """The quantile at probability `q`: order statistic (n - 1) q, counted from 0.

    Between two order statistics by a straight line: type 7 of Hyndman and Fan (1996), "Sample
    quantiles in statistical packages", The American Statistician 50(4), 361-365; the default of
    numpy, and quantile_cont of SQL. None where there are no units, or values are not finite.
    Raises ValueError where `q` does not lie in (0, 1).
    """
    _check(q)
    return None if _cannot(d) else _estimate(d, q)


def limits(d: Distribution, q: float, alpha: float) -> Ends | None:
    """The order-statistic interval of the quantile at `q`, of coverage 1 - `alpha`.

    Its ends are fractional order statistics: the r-th smallest of n is the lower end where
    I_q(r, n + 1 - r) = 1 - alpha / 2, and the upper where it is alpha / 2, I being the regularised
    incomplete beta function; between order statistics by a straight line. No distribution is
    assumed; shared values make it wider than needed, never too narrow. Source: Hutson (1999),
    "Calibrating nonparametric confidence intervals for quantiles using fractional order
    statistics", Journal of Applied Statistics 26(3), 343-353. None where an end would lie beyond
    all units: below n = log(alpha / 2) / log(max(q, 1 - q)). Where the estimate lies outside
    (alpha near 1) the interval is stretched to hold it.
    """
    _check(q)
    if _cannot(d) or alpha < _least_alpha(d.n, q):
        return None
    return _lower(d, q, alpha), _upper(d, q, alpha)


def quantile_level(d: Distribution, q: float, alpha: float) -> Estimate:
    """One arm's quantile with its interval.

    The standard error is the interval's width over that of a standard normal's interval:
    Woodruff (1952), "Confidence intervals for medians and other position measures", JASA 47(260),
    635-646. Raises ValueError where `q` does not lie in (0, 1).
    """
    estimate, ends = quantile(d, q), limits(d, q, alpha)
    if estimate is None:
        return Estimate(note=_cannot(d))
    if ends is None:
        return Estimate(estimate, note=FEW_BEYOND)
    note = AT_ATOM if ends[0] == ends[1] else None
    return Estimate(estimate, _std_error(ends, alpha), *ends, note=note)


def quantile_difference(arm: Distribution, base: Distribution, q: float, alpha: float) -> Estimate:
    """arm - base at probability `q`, its interval by squares of the arms' distances to their ends.

    With estimates a and b and ends (l_a, u_a), (l_b, u_b), the interval (MOVER) is
    a - b - sqrt((a - l_a)^2 + (u_b - b)^2) to a - b + sqrt((u_a - a)^2 + (b - l_b)^2).
    Source: Zou and Donner (2008), "Construction of confidence limits about effect measures",
    Statistics in Medicine 27(10), 1693-1702. The p-value is the largest alpha at which the interval
    holds 0, so that both agree; where it excludes 0 at every alpha that has an interval, the
    p-value is the least of these. Where both arms' ends meet their estimates, the interval has no
    width and the note says so. Raises ValueError where `q` does not lie in (0, 1).
    """
    pair, reason = _pair(arm, base, q, alpha)
    if pair is None:
        return Estimate(note=reason)
    estimate = pair.arm - pair.base
    if pair.ends is None or not math.isfinite(estimate):
        return Estimate(estimate, note=reason) if math.isfinite(estimate) else Estimate(note=reason)
    low, high = _difference(pair.arm, pair.base, *pair.ends)
    std_error = math.hypot(*(_std_error(e, alpha) for e in pair.ends))
    if not all(map(math.isfinite, (low, high, std_error))):
        return Estimate(note=NOT_FINITE)
    return Estimate(estimate, std_error, low, high, _p_value(arm, base, q), reason)


def quantile_lift(arm: Distribution, base: Distribution, q: float, alpha: float) -> Estimate:
    """(arm - base) / |base| at probability `q`, with the ratio's interval by the same squares.

    It holds every ratio R for which the interval of a - R |b| (see `quantile_difference`) holds 0,
    so it excludes no change exactly where the difference's interval excludes 0, and shares its
    p-value. Unbounded where the base's own interval reaches 0: then there is no number, and the
    note says so. Source: Donner and Zou (2012), "Closed-form confidence intervals for functions of
    the normal mean and standard deviation", Statistical Methods in Medical Research 21(4), 347-359,
    section 2 (ratio). Raises ValueError where `q` does not lie in (0, 1).
    """
    pair, reason = _pair(arm, base, q, alpha)
    if pair is None or pair.ends is None:
        return Estimate(note=reason)
    of_arm, of_base = pair.ends
    if of_base[0] <= 0.0 <= of_base[1]:
        return Estimate(note=UNBOUNDED)
    sign = math.copysign(1.0, pair.base)
    size = abs(pair.base)
    a, ends_a = pair.arm / size, (of_arm[0] / size, of_arm[1] / size)
    ends_b = (of_base[0] / size, of_base[1] / size) if sign > 0 else _flipped(of_base, size)
    low = _least_ratio(a, ends_a, ends_b) - sign
    high = -_least_ratio(-a, _flipped(ends_a), ends_b) - sign
    std_error = math.hypot(_std_error(ends_a, alpha), a * _std_error(ends_b, alpha))
    lift = (pair.arm - pair.base) / size
    if not all(map(math.isfinite, (lift, low, high, std_error))):
        return Estimate(note=UNBOUNDED)
    p_value = _p_value(arm, base, q)
    return Estimate(lift, std_error, min(low, lift), max(high, lift), p_value, reason)


@dataclasses.dataclass(frozen=True, slots=True)
class _Pair:
    arm: float
    base: float
    ends: tuple[Ends, Ends] | None


def _pair(
    arm: Distribution, base: Distribution, q: float, alpha: float
) -> tuple[_Pair | None, str | None]:
    """Both arms' quantiles and their ends; what cannot be had of them, or should be known, why."""
    a, b = quantile(arm, q), quantile(base, q)
    if a is None or b is None:
        return None, _cannot(arm) or _cannot(base)
    of_arm, of_base = limits(arm, q, alpha), limits(base, q, alpha)
    if of_arm is None or of_base is None:
        return _Pair(a, b, None), FEW_BEYOND
    tied = of_arm[0] == of_arm[1] and of_base[0] == of_base[1]
    return _Pair(a, b, (of_arm, of_base)), AT_ATOM if tied else None


def _difference(a: float, b: float, of_a: Ends, of_b: Ends) -> Ends:
    """The interval of a - b from the intervals of both."""
    low = a - b - math.hypot(a - of_a[0], of_b[1] - b)
    return low, a - b + math.hypot(of_a[1] - a, b - of_b[0])


def _least_ratio(a: float, of_a: Ends, of_b: Ends) -> float:
    """The lower end of a / b for b = 1 with an interval above 0.

    The R with a - R = sqrt((a - l_a)^2 + R^2 w^2), w being the base's distance to its upper end
    for R above 0, and to its lower end for R below: a root of a quadratic in R.
    """
    below = a - of_a[0]
    w = of_b[1] - 1.0 if of_a[0] > 0.0 else 1.0 - of_b[0]
    root = math.sqrt(max(a * a * w * w + below * below * (1.0 - w * w), 0.0))
    if a > 0.0:
        return (a - below) * (a + below) / (a + root)
    return (a - root) / (1.0 - w * w)


def _p_value(arm: Distribution, base: Distribution, q: float) -> float:
    """The largest alpha at which the interval of the difference holds 0, by bisection."""
    least = max(_least_alpha(arm.n, q), _least_alpha(base.n, q), LEAST)
    over, under = (arm, base) if _estimate(arm, q) >= _estimate(base, q) else (base, arm)
    a, b = _estimate(over, q), _estimate(under, q)

    def holds_zero(alpha: float) -> bool:
        return math.hypot(a - _lower(over, q, alpha), _upper(under, q, alpha) - b) >= a - b

    if holds_zero(1.0):
        return 1.0
    if not holds_zero(least):
        return least
    low, high = math.log(least), 0.0
    while high - low > 1e-7:
        middle = (low + high) / 2.0
        low, high = (middle, high) if holds_zero(math.exp(middle)) else (low, middle)
    return math.exp(low)


def _estimate(d: Distribution, q: float) -> float:
    return float(d.at([(d.n - 1) * q])[0])


def _lower(d: Distribution, q: float, alpha: float) -> float:
    """The lower end of `limits`; bdtrik is the inverse of the beta function there, in r - 1."""
    position = min(max(special.bdtrik(alpha / 2.0, d.n, q), 0.0), (d.n - 1) * q)
    return float(d.at([position])[0])


def _upper(d: Distribution, q: float, alpha: float) -> float:
    position = max(d.n - 1.0 - special.bdtrik(alpha / 2.0, d.n, 1.0 - q), (d.n - 1) * q)
    return float(d.at([min(position, d.n - 1.0)])[0])


def _least_alpha(n: int, q: float) -> float:
    """The least alpha at which both ends of the interval are order statistics of n units."""
    return 2.0 * max(q, 1.0 - q) ** n


def _std_error(ends: Ends, alpha: float) -> float:
    return (ends[1] - ends[0]) / 2.0 / float(special.ndtri(1.0 - alpha / 2.0))


def _flipped(ends: Ends, size: float = 1.0) -> Ends:
    return -ends[1] / size, -ends[0] / size


def _cannot(d: Distribution) -> str | None:
    if d.not_finite:
        return NOT_FINITE
    return EMPTY if d.n == 0 else None


def _check(q: float) -> None:
    if not 0.0 < q < 1.0:
        raise ValueError(f"a quantile's probability lies between 0 and 1, not at {q}")
