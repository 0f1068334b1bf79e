"""Steps of groups and a horizon in; restricted mean survival times and their contrasts out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from retention_lab.errors import DataError
from retention_lab.survival.intervals import NO_VARIANCE, Estimate, critical, wald
from retention_lab.survival.steps import Floats, Steps

NOBODY = "empty: there are no units"
ZERO_MEAN = "zero_mean: everybody had the event at time 0, and a mean of 0 has no ratio"


def rmst(steps: Steps, tau: float, alpha: float = 0.05, cause: int | None = 1) -> Estimate:
    """Mean time until the event, up to `tau`: the area under the Kaplan-Meier curve from 0 to tau.

    Variance: sum over event times t up to tau of A(t)^2 d / (n (n - d)), A(t) the area from t to
    tau. No p-value. Events of other causes than `cause` count as censoring; None: any cause.
    Raises DataError where the group was not observed up to `tau` (see `largest_tau`), ValueError
    where `tau` is not positive.
    Source: Karrison (1987), JASA 82, 1169-1176; Royston and Parmar (2013), BMC Medical Research
    Methodology 13, 152; Uno et al. (2014), Journal of Clinical Oncology 32, 2380-2385.
    """
    check_tau(tau, {"": steps}, cause)
    if not len(steps.time):
        return Estimate(note=NOBODY)
    mean, error = _area(steps, tau, cause)
    if error == 0.0:
        return Estimate(mean, note=NO_VARIANCE)
    half = critical(alpha) * error
    return Estimate(mean, error, mean - half, mean + half)


def difference(arm: Estimate, base: Estimate, alpha: float = 0.05) -> Estimate:
    """RMST of `arm` less that of `base`, independent groups, by Wald's test."""
    if arm.estimate is None or base.estimate is None:
        return Estimate(note=NOBODY)
    error = math.hypot(arm.std_error or 0.0, base.std_error or 0.0)
    return wald(arm.estimate - base.estimate, error, alpha)


def ratio(arm: Estimate, base: Estimate, alpha: float = 0.05) -> Estimate:
    """RMST of `arm` over that of `base`: interval and p-value of the logarithm, delta method.

    `std_error` is that of the ratio itself.
    """
    if arm.estimate is None or base.estimate is None:
        return Estimate(note=NOBODY)
    if arm.estimate <= 0.0 or base.estimate <= 0.0:
        return Estimate(note=ZERO_MEAN)
    found = arm.estimate / base.estimate
    parts = ((one.std_error or 0.0) / one.estimate for one in (arm, base) if one.estimate)
    of_log = wald(math.log(found), math.hypot(*parts), alpha)
    if of_log.std_error is None or of_log.low is None or of_log.high is None:
        return Estimate(found, note=of_log.note)
    low, high = math.exp(of_log.low), math.exp(of_log.high)
    return Estimate(found, found * of_log.std_error, low, high, of_log.p_value)


def largest_tau(groups: Mapping[Any, Steps], cause: int | None = 1) -> float:
    """The largest tau at which every group has a restricted mean.

    A group whose curve does not come down to 0 is known up to its last time only; the least of
    these is the limit. inf where every curve reaches 0, or no group has a unit.
    Source: Uno et al. (2014), whose package survRM2 has this limit.
    """
    ends = (s.time[-1] for s in groups.values() if len(s.time) and not _reaches_zero(s, cause))
    return float(min(ends, default=math.inf))


def check_tau(tau: float, groups: Mapping[Any, Steps], cause: int | None = 1) -> None:
    """DataError where `tau` lies beyond `largest_tau`, which it names; ValueError: not positive."""
    if not (tau > 0.0 and math.isfinite(tau)):
        raise ValueError(f"tau must be a positive number, not {tau}")
    limit = largest_tau(groups, cause)
    if tau <= limit:
        return
    short = [k for k, s in groups.items() if len(s.time) and s.time[-1] < tau and k != ""]
    where = f" in {', '.join(repr(_named(k)) for k in short)}" if short else ""
    raise DataError(
        f"tau is {tau:g}, but the mean up to tau is known only as long as units were observed"
        f"{where}: the largest valid tau is {limit:g}"
    )


def _area(steps: Steps, tau: float, cause: int | None) -> tuple[float, float]:
    inside = steps.time <= tau
    time = steps.time[inside]
    n = steps.at_risk[inside].astype(np.float64)
    d = steps.happened(cause)[inside].astype(np.float64)
    survival = np.cumprod((n - d) / n)
    width = np.diff(np.concatenate([[0.0], time, [tau]]))
    slices: Floats = np.append(1.0, survival) * width
    beyond = np.cumsum(slices[::-1])[::-1][1:]
    left = n - d
    variance = (beyond**2 * np.divide(d, n * left, out=np.zeros_like(d), where=left > 0)).sum()
    return float(slices.sum()), math.sqrt(float(variance))


def _reaches_zero(steps: Steps, cause: int | None) -> bool:
    return bool(np.any(steps.happened(cause) == steps.at_risk))


def _named(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) and len(key) == 1 else key
