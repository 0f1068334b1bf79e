"""Probabilities and standard errors in; confidence limits and Wald tests out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Kind = Literal["log-log", "log", "plain"]

NO_ERROR = "no_error: one of the two has no standard error at this time"
NO_VARIANCE = "zero_variance: nobody differs from anybody, so there is no error to compare with"


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with its interval and p-value; None where there is none, and `note` says why."""

    estimate: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    note: str | None = None


def limits(p: Any, std_error: Any, kind: Kind, alpha: float) -> tuple[Floats, Floats]:
    """Confidence limits of probabilities `p` with standard errors `std_error`, any one shape.

    log-log: p ^ exp(-+ z se / (p log p)); log: p exp(-+ z se / p), at most 1; plain: p -+ z se,
    within 0 and 1. Nan where `p` or its error is nan, for log-log where p is 0 or 1, for log where
    it is 0: there the transformation has no value.
    Source: Kalbfleisch and Prentice (2002), The Statistical Analysis of Failure Time Data, 2nd ed.,
    section 1.4; Borgan and Liestol (1990), Scandinavian Journal of Statistics 17, 35-41.
    """
    z = critical(alpha)
    known = check_kind(kind)
    p, se = np.asarray(p, np.float64), np.asarray(std_error, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if known == "plain":
            return np.maximum(p - z * se, 0.0), np.minimum(p + z * se, 1.0)
        if known == "log":
            inside = np.where(p == 0.0, np.nan, p)
            spread = z * se / inside
            return inside * np.exp(-spread), np.minimum(inside * np.exp(spread), 1.0)
        inside = np.where((p == 0.0) | (p == 1.0), np.nan, p)
        log = np.log(inside)
        spread = z * se / inside / log
        return np.exp(log * np.exp(-spread)), np.exp(log * np.exp(spread))


def wilson(x: Any, n: Any, alpha: float) -> tuple[Floats, Floats]:
    """Interval of shares x / n by the score test, any one shape; nan where n is 0."""
    return score_limits(x, n, critical(alpha))


def score_limits(x: Any, n: Any, z: Any) -> tuple[Floats, Floats]:
    """The same, at z standard errors.

    Source: Wilson (1927), Journal of the American Statistical Association 22(158), 209-212.
    """
    z2 = np.square(z)
    x = np.asarray(x, np.float64)
    n = np.where(np.asarray(n) > 0, np.asarray(n, np.float64), np.nan)
    share = x / n
    middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = np.sqrt(z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))) / (1.0 + z2 / n)
    low = np.where(x == 0, 0.0 * n, np.maximum(middle - half, 0.0))
    high = np.where(x == n, 1.0 + 0.0 * n, np.minimum(middle + half, 1.0))
    return low, high


def check_kind(kind: str) -> str:
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
    return kind


def critical(alpha: float) -> float:
    """Two-sided critical value of the normal distribution; ValueError unless 0 < alpha < 1."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    return float(-special.ndtri(alpha / 2.0))


def wald(estimate: float, std_error: float, alpha: float) -> Estimate:
    """estimate -+ z se, with the two-sided p-value of no effect; a note where there is no error."""
    z = critical(alpha)
    if not math.isfinite(estimate):
        return Estimate(note=NO_ERROR)
    if not math.isfinite(std_error):
        return Estimate(estimate, note=NO_ERROR)
    if std_error <= 0.0:
        return Estimate(estimate, note=NO_VARIANCE)
    p_value = 2.0 * float(special.ndtr(-abs(estimate) / std_error))
    half = z * std_error
    return Estimate(estimate, std_error, estimate - half, estimate + half, p_value)
