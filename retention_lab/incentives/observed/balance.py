"""Covariates and chances in; standardised differences, before and after weighting, out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retention_lab.incentives.observed.crossfit import Crossed
from retention_lab.incentives.observed.effects import Floats, Ints
from retention_lab.incentives.observed.overlap import comparable
from retention_lab.incentives.observed.sample import Sample


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """How far a covariate's means lie apart, in deviations; None where it is constant."""

    name: str
    before: float | None
    after: float | None


def standardised(x: Floats, arm: Ints, one: int, base: int) -> Floats:
    """(mean_one - mean_base) / sqrt((s_one^2 + s_base^2) / 2), s^2 over n - 1; nan: constant. [p]

    Source: Austin (2009), Statistics in Medicine 28, 3083-3107.
    """
    up, down = x[arm == one], x[arm == base]
    return _over(up.mean(axis=0) - down.mean(axis=0), _deviation(x, arm, one, base))


def balance(sample: Sample, c: Crossed, one: int, base: int, trim: float) -> tuple[Difference, ...]:
    """By covariate: of all units, and of comparable ones weighted by 1 / P(their arm | x).

    Weights add up to 1 in each arm; both differences are over the deviation before weighting.
    """
    x = sample.x[c.rows]
    scale = _deviation(x, c.arm, one, base)
    before = standardised(x, c.arm, one, base)
    keep = comparable(c, one, base, trim)
    means = []
    for arm in (one, base):
        mine = keep & (c.arm == arm)
        weight = 1.0 / c.chance[mine, arm]
        means.append(weight @ x[mine] / weight.sum() if mine.any() else np.full(x.shape[1], np.nan))
    after = _over(means[0] - means[1], scale)
    return tuple(
        Difference(name, _known(b), _known(a))
        for name, b, a in zip(sample.names, before, after, strict=True)
    )


def _deviation(x: Floats, arm: Ints, one: int, base: int) -> Floats:
    parts = [x[arm == a].var(axis=0, ddof=1) for a in (one, base)]
    return np.asarray(np.sqrt((parts[0] + parts[1]) / 2.0))


def _over(gap: Floats, scale: Floats) -> Floats:
    return np.divide(gap, scale, out=np.full_like(gap, np.nan), where=scale > 0.0)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
