"""A fitted Cox model and its rows in; baseline cumulative hazards with what errors need out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retention_lab.survival.model.cox import state_of
from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.likelihood import State
from retention_lab.survival.model.riskset import RiskSets

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """One stratum's cumulative hazard of a row whose covariates are the fit's `centre`.

    ======== ===== ===================================================================
    time     G     event times, ascending; or the days on which it is known
    hazard   G     cumulative hazard up to and including the time
    variance G     its variance if the coefficients were known
    slope    G x K sum of (mean of x over those at risk, less `centre`) x its increments
    end      -     the last time at which a row of the stratum was seen
    ======== ===== ===================================================================
    """

    stratum: str
    time: Floats
    hazard: Floats
    variance: Floats
    slope: Floats
    end: float

    def before(self, times: Floats) -> npt.NDArray[np.intp]:
        """How many event times are at or before each of `times`."""
        return np.searchsorted(self.time, times, side="right")

    def on(self, days: Sequence[float]) -> Baseline:
        """The same with steps on `days` only, up to the last of them that was seen."""
        given = np.unique(np.asarray(days, np.float64))
        at = given[given <= self.end]
        place = self.before(at)

        def then(values: Floats) -> Floats:
            return np.concatenate([np.zeros((1, *values.shape[1:])), values])[place]

        return Baseline(
            stratum=self.stratum,
            time=at,
            hazard=then(self.hazard),
            variance=then(self.variance),
            slope=then(self.slope),
            end=float(at.max(initial=-np.inf)),
        )


def baselines(
    fit: CoxFit, data: SurvivalData, risk: RiskSets | None = None
) -> tuple[Baseline, ...]:
    """The baseline of each stratum, in the order of strata; their increments as ties in the fit.

    With phi_k the denominators of the tied deaths, the increments are sum 1 / phi_k and sum 1 /
    phi_k^2 (Efron), or D / S0 and D / S0^2 (Breslow). `risk` is as in `fit_cox`. Raises
    ValueError for exact ties.
    Source: Tsiatis (1981), Annals of Statistics 9(1), 93-108; with Efron's ties Therneau and
    Grambsch (2000), Modeling Survival Data, section 10.2.
    """
    state = state_of(fit, data, risk)
    return tuple(baseline_of(state, s) for s in range(max(len(data.strata_names), 1)))


def baseline_of(state: State, stratum: int = 0) -> Baseline:
    """The baseline of one stratum at the coefficients of `state`."""
    data, risk, sums = state.problem.data, state.problem.risk, state.sums
    part = slice(int(risk.bounds[stratum]), int(risk.bounds[stratum + 1]))
    s0, slope = state.s0[part], state.mean_hazards()[0][part] * state.problem.scale
    mine = data.stop if data.strata is None else data.stop[data.strata == stratum]
    return Baseline(
        stratum=data.strata_names[stratum] if data.strata_names else "",
        time=risk.time[part],
        hazard=np.cumsum(sums.first[0, part] / s0),
        variance=np.cumsum(sums.second[0, part] / s0**2),
        slope=np.cumsum(slope, axis=0),
        end=float(mine.max(initial=-np.inf)),
    )
