"""Rows of few patterns of covariates in; how many of each pattern leave, enter or linger when, out.

Rows of one pattern have the same exp(x'b), so that the risk sums of an iteration are products of
counts, which do not change, with one number a pattern.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.riskset import RiskSets

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
FEW = 4  # rows a pattern, on average, from which on patterns are worth it


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """The P patterns that have rows: by row the code, [R]; by pattern x, [P, K], and n, [P]."""

    code: Places
    x: Floats
    n: Floats

    @classmethod
    def of(cls, data: SurvivalData) -> Patterns | None:
        """None where the patterns of `data` are not known, or too many to be of use."""
        if data.pattern is None or not data.rows:
            return None
        first = np.full(int(data.pattern.max()) + 1, -1, np.intp)
        first[data.pattern[::-1]] = np.arange(data.rows)[::-1]
        seen = first >= 0
        if seen.sum() * FEW > data.rows:
            return None
        code = (np.cumsum(seen) - 1)[data.pattern]
        return cls(code, data.x[first[seen]], np.bincount(code, data.n).astype(np.float64))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Counts by event time (G + 1: the last is none) and pattern (P).

    ========= ============ ==================================================================
    code      R            the pattern of each row
    x         P x K        standardised covariates
    leaving   2 (G + 1) x P  units by the last time at which they are at risk: first those
                           without the event then, in the second half those with it
    entering  G + 1 x P    by the last time at which they are not yet at risk; None: nobody late
    lingering G + 1 x P    by the first time at which they linger, times their own factor
    events_x  G + 1 x K    sum of x over the events
    ========= ============ ==================================================================
    """

    code: Places
    x: Floats
    leaving: Any
    entering: Any
    lingering: tuple[Any, ...]
    events_x: Floats

    @classmethod
    def of(cls, data: SurvivalData, risk: RiskSets, code: Places, x: Floats) -> Pooled:
        """Add up the rows of `data`, whose patterns `code` [R] have the columns `x` [P, K]."""
        n, some = data.n.astype(np.float64), risk.times + 1

        def counts(at: Places, pattern: Places, weight: Floats, size: int) -> Any:
            return sparse.csr_array((weight, (at, pattern)), shape=(size, len(x)))

        leaving = counts(slots(data, risk), code, n, 2 * some)
        entering = None if risk.before is None else counts(risk.before, code, n, some)
        lingering = tuple(
            counts(group.begin, code[group.row], n[group.row] * group.factor, some)
            for group in risk.linger
        )
        return cls(code, x, leaving, entering, lingering, leaving[some:] @ x)


def slots(data: SurvivalData, risk: RiskSets) -> Places:
    """By row its last event time at risk, and G + 1 more where it has the event then, [R]."""
    return np.where(data.event, risk.upto + risk.times + 1, risk.upto)
