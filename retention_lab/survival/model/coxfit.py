"""Numbers of a fitted Cox model in; its estimates, errors, tests and intervals out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.survival.model.data import Coding

Floats = npt.NDArray[np.float64]
Ties = Literal["efron", "breslow", "exact"]


@dataclasses.dataclass(frozen=True, slots=True)
class Test:
    """A chi-square test that all coefficients are 0; None where it cannot be had."""

    __test__ = False  # not one of pytest's

    chisq: float | None
    df: int
    p_value: float | None

    @classmethod
    def of(cls, chisq: float, df: int) -> Test:
        """The test of this statistic."""
        if df < 1 or not np.isfinite(chisq):
            return cls(None, df, None)
        return cls(max(chisq, 0.0), df, float(special.chdtrc(df, max(chisq, 0.0))))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CoxFit:
    """A fitted Cox model; arrays have shape (K,) or (K, K), log hazard ratios per unit of x.

    ================= =================================================================
    names             the K columns that are estimated, such as `age`, `region=Europe`
    coef              log hazard ratios; nan where there is none, and `note` says why
    std_error         from the information
    robust_error      Lin and Wei's, or None: not asked for, or a penalised fit, which has none
    covariance        of the coefficients, from the information; `robust_covariance` too
    loglik_null, loglik   at coefficients 0, and at `coef` (penalised where `penalty` is)
    lr, wald, score   tests of all coefficients; `wald` uses the robust covariance if there
    size, events      rows and events, each counted n times
    clusters          how many clusters the robust error rests on, 0: not clustered
    dropped           by column that is not estimated: "code: sentence"
    centre            means of the columns over all rows
    ties, penalty     efron, breslow or exact; none or firth
    note              "code: sentence" where something is odd, else None
    separated         columns along which the plain likelihood has no maximum
    ================= =================================================================
    """

    names: tuple[str, ...]
    coef: Floats
    std_error: Floats
    robust_error: Floats | None
    covariance: Floats
    robust_covariance: Floats | None
    loglik_null: float
    loglik: float
    lr: Test
    wald: Test
    score: Test
    size: int
    events: int
    strata: int
    clusters: int
    iterations: int
    converged: bool
    ties: Ties
    penalty: Literal["none", "firth"]
    centre: Floats
    coding: tuple[Coding, ...]
    dropped: Mapping[str, str]
    notes: Mapping[str, int]
    note: str | None = None
    separated: tuple[str, ...] = ()

    @property
    def error(self) -> Floats:
        """The robust standard errors where there are some, else those of the information."""
        return self.std_error if self.robust_error is None else self.robust_error

    @property
    def variance(self) -> Floats:
        """The covariance that belongs to `error`, [K, K]."""
        return self.covariance if self.robust_covariance is None else self.robust_covariance

    @property
    def p_value(self) -> Floats:
        """Two-sided, by the normal distribution of coef / error."""
        return np.asarray(2.0 * special.ndtr(-np.abs(self.coef / self.error)))

    def interval(self, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Low and high ends of the 1 - alpha intervals of the log hazard ratios.

        They are Wald's; a penalised fit has better ones: see `profile.profile`.
        """
        half = float(special.ndtri(1.0 - alpha / 2.0)) * self.error
        return self.coef - half, self.coef + half
