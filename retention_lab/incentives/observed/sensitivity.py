"""Estimates in; how strong an unseen cause must be to overturn them (E-values, robustness) out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from retention_lab.incentives.observed.effects import Floats


def e_value(ratio: float) -> float:
    """The least risk ratio with both treatment and outcome that explains away this one.

    RR + sqrt(RR (RR - 1)) for RR >= 1, and of 1 / RR below 1. ValueError unless positive.
    Source: VanderWeele and Ding (2017), Annals of Internal Medicine 167, 268-274.
    """
    if not (ratio > 0.0 and math.isfinite(ratio)):
        raise ValueError(f"a risk ratio is a positive number, not {ratio}")
    rr = max(ratio, 1.0 / ratio)
    return rr + math.sqrt(rr) * math.sqrt(rr - 1.0)  # rr * rr may be too large for a number


def e_value_of_limit(low: float, high: float) -> float:
    """E-value of the end of a ratio's interval that is nearer to 1; 1 where 1 lies within."""
    if low <= 1.0 <= high:
        return 1.0
    return e_value(low if low > 1.0 else high)


def ratio_of_difference(
    difference: float, std_error: float, deviation: float, alpha: float = 0.05
) -> Floats:
    """Risk ratio that a difference of a number amounts to, and its interval: [ratio, low, high].

    exp(0.91 d), exp(0.91 d -+ 1.78 se(d)) with d the difference over the outcome's `deviation`;
    ratios beyond exp(+-600), which say no more than that nothing explains them, are that.
    Source: VanderWeele and Ding (2017), after Chinn (2000), Statistics in Medicine 19, 3127-3131.
    """
    d, se = difference / deviation, std_error / deviation
    # Their 1.78 is 0.91 times 1.96, rounded; other levels are not in the source.
    half = (1.78 if alpha == 0.05 else 0.91 * float(special.ndtri(1.0 - alpha / 2.0))) * se
    return np.asarray(np.exp(np.clip([0.91 * d, 0.91 * d - half, 0.91 * d + half], -600, 600)))


@dataclasses.dataclass(frozen=True, slots=True)
class Regression:
    """Least squares of the outcome on treatment and covariates: the treatment's coefficient.

    `partial` has, by covariate, the shares that it explains of what the others leave: of the
    treatment, and of the outcome (beside the treatment).
    """

    estimate: float
    std_error: float
    df: int
    partial: Mapping[str, tuple[float, float]]

    @property
    def t(self) -> float:
        return self.estimate / self.std_error


def regress(
    y: Floats, d: Floats, x: Floats, groups: Mapping[str, Sequence[int]]
) -> Regression | None:
    """y [n] on d [n] and x [n, p], with a constant; `groups`: columns of x by covariate.

    Errors are the classical ones, for robustness values are about shares of variance. None where
    the treatment follows from the covariates, or nothing is left of the outcome.
    """
    p = x.shape[1]
    z = np.column_stack([x, d, y]).astype(np.float64)
    z -= z.mean(axis=0)
    scale = np.sqrt(np.square(z).mean(axis=0))
    z /= np.where(scale > 0.0, scale, 1.0)
    gram = z.T @ z
    columns = [j for j in range(p) if scale[j] > 0.0]
    df = len(y) - len(columns) - 2
    if df < 1 or scale[p] == 0.0 or scale[p + 1] == 0.0:
        return None
    left_d = _left(gram, p, columns)
    left_y = _left(gram, p + 1, [*columns, p])
    if left_d <= 1e-9 * len(y) or left_y <= 1e-12 * len(y):
        return None
    inverse = np.linalg.pinv(gram[np.ix_(columns, columns)], hermitian=True)
    both = gram[p, p + 1] - gram[p, columns] @ inverse @ gram[columns, p + 1]
    unit = scale[p + 1] / scale[p]
    partial = {}
    for name, mine in groups.items():
        rest = [j for j in columns if j not in mine]
        if len(rest) == len(columns):
            continue
        of_d = 1.0 - left_d / _left(gram, p, rest)
        of_y = 1.0 - left_y / _left(gram, p + 1, [*rest, p])
        partial[name] = (max(of_d, 0.0), max(of_y, 0.0))
    std_error = math.sqrt(left_y / df / left_d) * unit
    return Regression(float(both / left_d * unit), float(std_error), df, partial)


def _left(gram: Floats, target: int, given: Sequence[int]) -> float:
    """Sum of squares of a column that the given ones leave."""
    if not given:
        return float(gram[target, target])
    inner = gram[np.ix_(given, given)]
    side = gram[given, target]
    return float(gram[target, target] - side @ np.linalg.pinv(inner, hermitian=True) @ side)


def partial_r2(t: float, df: int) -> float:
    """Share of the outcome's rest that the treatment explains: t^2 / (t^2 + df)."""
    return t * t / (t * t + df)


def robustness_value(t: float, df: int, q: float = 1.0, alpha: float | None = None) -> float:
    """Least share of both rests that an unseen cause must explain to take away q of the estimate.

    With `alpha`: to take away so much that it is no longer significant at that level. Between 0
    (any cause does) and 1.
    Source: Cinelli and Hazlett (2020), JRSS B 82, 39-67, equations 18 and 19 (and their package
    sensemakr for the case that a cause of the outcome alone is not enough).
    """
    f = q * abs(t) / math.sqrt(df)
    if alpha is None:
        return _rv(f)
    if df < 2:
        return 0.0
    critical = float(special.stdtrit(df - 1, 1.0 - alpha / 2.0)) / math.sqrt(df - 1)
    if f <= critical:
        return 0.0
    if f * critical > 1.0:
        return (f * f - critical * critical) / (1.0 + f * f)
    return _rv(f - critical)


def _rv(f: float) -> float:
    return 0.5 * (math.sqrt(f**4 + 4.0 * f * f) - f * f)


@dataclasses.dataclass(frozen=True, slots=True)
class Shifted:
    """The estimate beside an unseen cause of the strengths given: adjusted for it.

    `of_treatment` and `of_outcome` are the shares of the rests that the cause explains.
    """

    of_treatment: float
    of_outcome: float
    estimate: float
    std_error: float
    low: float
    high: float


def shifted(r: Regression, of_treatment: float, of_outcome: float, alpha: float = 0.05) -> Shifted:
    """The estimate moved towards 0 (and beyond) by a cause of these strengths.

    Bias = se sqrt(df R2_y R2_d / (1 - R2_d)); its error sqrt((1 - R2_y) / (1 - R2_d)
    df / (df - 1)) times the old one. ValueError unless 0 <= R2_d < 1 and 0 <= R2_y <= 1.
    Source: Cinelli and Hazlett (2020), section 4.
    """
    if not (0.0 <= of_treatment < 1.0 and 0.0 <= of_outcome <= 1.0):
        raise ValueError(f"shares lie between 0 and 1, not {of_treatment} and {of_outcome}")
    odds = of_treatment / (1.0 - of_treatment)
    bias = r.std_error * math.sqrt(r.df * of_outcome * odds)
    estimate = math.copysign(1.0, r.estimate) * (abs(r.estimate) - bias)
    ratio = (1.0 - of_outcome) / (1.0 - of_treatment) * r.df / max(r.df - 1, 1)
    std_error = r.std_error * math.sqrt(ratio)
    half = float(special.stdtrit(max(r.df - 1, 1), 1.0 - alpha / 2.0)) * std_error
    return Shifted(of_treatment, of_outcome, estimate, std_error, estimate - half, estimate + half)


def benchmark(
    r: Regression, covariate: str, times: float = 1.0, alpha: float = 0.05
) -> Shifted | None:
    """The estimate beside a cause `times` as strong as an observed covariate.

    With R2_d and R2_y the covariate's shares and k = `times`: its odds with the treatment are
    k R2_d / (1 - R2_d), its share of the outcome at most ((sqrt(k) + s) / sqrt(1 - s^2))^2
    R2_y / (1 - R2_y), s^2 = k R2_d^2 / ((1 - k R2_d) (1 - R2_d)), and at most 1. None where no
    cause can be that strong. KeyError for a covariate that is not there.
    Source: Cinelli and Hazlett (2020), section 4.4; ky = kd = `times`.
    """
    d, y = r.partial[covariate]
    if d >= 1.0 or y >= 1.0 or times * d >= 1.0:
        return None
    of_treatment = times * d / (1.0 - d)
    both = times * d * d / ((1.0 - times * d) * (1.0 - d))
    if of_treatment >= 1.0 or both >= 1.0:
        return None
    of_outcome = (math.sqrt(times) + math.sqrt(both)) ** 2 / (1.0 - both) * y / (1.0 - y)
    return shifted(r, of_treatment, min(of_outcome, 1.0), alpha)


def contour(
    r: Regression, most: float = 0.3, steps: int = 7, alpha: float = 0.05
) -> tuple[Shifted, ...]:
    """The estimate on a grid of strengths from 0 to `most` in each direction, treatment first."""
    grid = np.linspace(0.0, most, steps).tolist()
    return tuple(shifted(r, a, b, alpha) for a in grid for b in grid)
