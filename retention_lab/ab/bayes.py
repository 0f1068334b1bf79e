"""Arms' estimates and their variances in; posteriors, chances to be best and losses out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.ab.shrink import LARGEST, Values

Floats = npt.NDArray[np.float64]

NOT_KNOWN = "not_known: the arm has no finite estimate with a positive variance"
ALONE = "one_arm: there is no other arm to be better than"
NO_BASELINE = "no_baseline: the baseline has no finite estimate with a positive variance"

# Panels end at these multiples of each arm's posterior sd around its mean; eight nodes in each.
ENDS = np.array([-8.0, -6.0, -4.5, -3.5, -2.5, -1.75, -1.0, -0.5, 0.0])
ENDS = np.concatenate([ENDS, -ENDS[-2::-1]])
PANEL, PANEL_WEIGHT = np.polynomial.legendre.leggauss(8)
FAR = 1e3  # largest posterior sds
NARROW = 1e-8  # smallest posterior sd that is told from 0, in units of the largest
SHARED, SHARED_WEIGHT = np.polynomial.hermite_e.hermegauss(24)


@dataclasses.dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of one arm after the data; None where it cannot be had, `note` says why.

    `mean`, `sd` and `low` to `high` are of the arm's mean; `prob_best` is the probability that no
    arm is better, `expected_loss` what choosing this arm gives away on average: the best arm's mean
    less this one's (the other way round where less is better), in the metric's unit.
    `difference` is to the baseline, with its credible interval, and `prob_better` the probability
    that this arm is better than it; the baseline itself has None there.
    """

    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    prob_best: float | None = None
    expected_loss: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    prob_better: float | None = None
    note: str | None = None


def compare(
    estimates: Values,
    variances: Values,
    prior_sd: float | None = None,
    maximise: bool = True,
    alpha: float = 0.05,
    baseline: int = 0,
) -> tuple[Posterior, ...]:
    """Posteriors of k arms' means, in the arms' order.

    Likelihood: estimate i is normal around the arm's mean with the given variance. Prior: the arms'
    means are exchangeable, normal with sd `prior_sd` around a common mean on which the prior is
    flat; the data put it at the pooled mean with weights 1 / (v_i + prior_sd^2), and its error is
    carried along. `prior_sd` None is a flat prior for every arm: nothing is shrunk, and an interval
    of the difference is the normal confidence interval.
    With s = prior_sd^2, B_i = v_i / (v_i + s) and M the pooled mean with variance
    S = 1 / sum 1 / (v_i + s), the mean of arm i is y_i - B_i (y_i - M) with variance
    s B_i + S B_i^2, and the covariance of two arms is S B_i B_j.
    Given the common mean the arms are independent, so that the probability to be best is an
    integral of f_i(x) prod_(j != i) F_j(x), and the loss of F_i(x) (1 - prod_(j != i) F_j(x)):
    Gauss and Legendre's rule on x, Gauss and Hermite's on the common mean, to 1e-6 of the
    probability, and of the loss in units of the largest posterior sd. No random numbers.

    Arguments: k estimates and their variances (squared standard errors) in one unit, prior_sd in
    that unit, whether more is better, alpha, and the position of the baseline. An arm that is not
    finite, or without a positive variance, is left out and has only a note. ValueError for unequal
    shapes, a prior_sd not above 0, an alpha outside (0, 1), or no such baseline.
    Source: Lindley and Smith (1972), JRSS B 34(1), 1-41; expected loss: Stucchio (2015), "Bayesian
    A/B Testing at VWO".
    """
    y, v = np.asarray(estimates, np.float64), np.asarray(variances, np.float64)
    if y.ndim != 1 or y.shape != v.shape:
        raise ValueError(f"estimates {y.shape} and variances {v.shape} must be two equal rows")
    if prior_sd is not None and not 1.0 / LARGEST <= prior_sd <= LARGEST:
        raise ValueError(f"prior_sd is a positive number or None, not {prior_sd}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is between 0 and 1, not {alpha}")
    if len(y) and not 0 <= baseline < len(y):
        raise ValueError(f"there is no arm {baseline} to be the baseline")
    with np.errstate(invalid="ignore"):
        known = (np.abs(y) <= LARGEST) & (v <= LARGEST**2) & (v >= LARGEST**-2)
    if not known.any():
        return tuple(Posterior(note=NOT_KNOWN) for _ in y)
    arms = _update(y[known], np.sqrt(v[known]), prior_sd)
    sign = 1.0 if maximise else -1.0
    best, loss = _best(sign * arms.offset, arms.own, sign * arms.shared)
    at = {int(i): j for j, i in enumerate(np.flatnonzero(known))}
    reach = float(special.ndtri(1.0 - alpha / 2.0))
    return tuple(
        _posterior(arms, at[i], at.get(baseline), sign, reach, best, loss)
        if i in at
        else Posterior(note=NOT_KNOWN)
        for i in range(len(y))
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Arms:
    """Posterior in units of `unit`: mean_i = centre + unit (offset_i + own_i Z_i + shared_i Z).

    That holds for differences of arms; `sd` is that of each arm's mean itself.
    """

    offset: Floats
    own: Floats
    shared: Floats
    sd: Floats
    centre: float
    unit: float


def _update(y: Floats, errors: Floats, prior_sd: float | None) -> _Arms:
    """Posterior of the known arms."""
    centre, unit = float(y[np.argmin(errors)]), float(errors.max())
    offset, v = (y - centre) / unit, np.maximum(errors / unit, 1e-50) ** 2
    if prior_sd is None:
        sd = np.sqrt(v)
        return _Arms(offset, sd, np.zeros(len(y)), sd, centre, unit)
    s = min(max(prior_sd / unit, 1e-50), 1e50) ** 2
    weights = 1.0 / (v + s)
    error = 1.0 / math.sqrt(float(weights.sum()))
    pooled = float(weights @ offset) * error * error
    kept, drawn = s * weights, v * weights  # 1 - B and B
    own = np.sqrt(v * kept)
    # B and B - 1 differ by what all arms share; the smaller of them keeps more digits.
    shared = error * (drawn if s > 1.0 else -kept)
    sd = np.hypot(own, error * drawn)
    return _Arms(kept * (offset - pooled), own, shared, sd, centre + unit * pooled, unit)


def _posterior(
    arms: _Arms,
    i: int,
    base: int | None,
    sign: float,
    reach: float,
    best: Floats,
    loss: Floats,
) -> Posterior:
    mean, sd = arms.centre + arms.unit * float(arms.offset[i]), arms.unit * float(arms.sd[i])
    alone = len(best) < 2
    found = Posterior(
        mean=mean,
        sd=sd,
        low=mean - reach * sd,
        high=mean + reach * sd,
        prob_best=None if alone else float(best[i]),
        expected_loss=None if alone else arms.unit * float(loss[i]),
        note=ALONE if alone else NO_BASELINE if base is None else None,
    )
    if alone or base is None or i == base:
        return found
    gap = float(arms.offset[i] - arms.offset[base])
    wide = math.hypot(arms.own[i], arms.own[base], arms.shared[i] - arms.shared[base])
    return dataclasses.replace(
        found,
        difference=arms.unit * gap,
        difference_low=arms.unit * (gap - reach * wide),
        difference_high=arms.unit * (gap + reach * wide),
        prob_better=float(special.ndtr(sign * gap / wide)),
    )


def _best(offset: Floats, own: Floats, shared: Floats) -> tuple[Floats, Floats]:
    """Probability to be the largest, and expected shortfall from the largest, of each arm."""
    scale = float(own.max())
    # An arm that lies FAR below the top is never the best: put it there, and add the rest after.
    below = (offset - offset.max()) / scale
    middle = np.maximum(below, -FAR)
    sd, shared = np.maximum(own / scale, NARROW), shared / scale
    nodes, weights = SHARED, SHARED_WEIGHT / math.sqrt(2.0 * math.pi)
    if not np.ptp(shared):
        nodes, weights = np.zeros(1), np.ones(1)
    best, loss = np.zeros(len(offset)), middle - below
    for node, weight in zip(nodes, weights, strict=True):
        chance, short = _given(middle + node * shared, sd)
        best += weight * chance
        loss += weight * short
    return best / best.sum(), loss * scale


def _given(middle: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """The same for independent normal arms."""
    ends = np.sort((middle[:, None] + np.multiply.outer(sd, ENDS)).ravel())
    half = np.diff(ends)[:, None] / 2.0
    x = (ends[:-1, None] + half * (PANEL + 1.0)).ravel()
    dx = (half * PANEL_WEIGHT).ravel()
    z = (x - middle[:, None]) / sd[:, None]
    log_below = special.log_ndtr(z)
    others = log_below.sum(axis=0) - log_below
    density = np.exp(others - 0.5 * z * z) / (sd[:, None] * math.sqrt(2.0 * math.pi))
    short = np.exp(log_below) * -np.expm1(others)
    return density @ dx, short @ dx
