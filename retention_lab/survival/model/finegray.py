"""Rows with competing events in; Fine and Gray's model of the subdistribution hazard out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.model.cox import Penalty, fit_cox
from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import Missing, SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.riskset import Linger, RiskSets

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def fine_gray(
    table: LifeTable,
    covariates: Sequence[str],
    event: str,
    competing: Sequence[str] | None = None,
    strata: Sequence[str] = (),
    missing: Missing = "error",
    references: Mapping[str, str] | None = None,
) -> CoxFit:
    """Fine and Gray's model of `event` in a life table, against the causes `competing`.

    By default all other causes compete. The coefficients are log ratios of subdistribution hazards:
    a positive one means a higher cumulative incidence. Raises as `design` and `fit_fine_gray` do.
    """
    others = [c for c in table.causes if c != event] if competing is None else competing
    data = design(table, covariates, strata, event, others, missing, references)
    return fit_fine_gray(data)


def fit_fine_gray(
    data: SurvivalData,
    ties: Literal["efron", "breslow"] = "efron",
    robust: bool = True,
    penalty: Penalty = "auto",
    censoring: Any = None,
) -> CoxFit:
    """Fine and Gray's model of rows with `competing`; counted rows are n rows each.

    Who had a competing event stays at risk with the weight G(t-) / G(T-): the share of those seen
    until then, at T, who would still be seen at t. Errors are Lin and Wei's, which take G as known,
    as R's `finegray` with `coxph` does. `censoring` [R] is by which groups G is estimated (default:
    all rows together). Raises as `subdistribution` does.
    Sources: Fine and Gray (1999), JASA 94(446), 496-509; as a weighted Cox model Geskus (2011),
    Biometrics 67(1), 39-49.
    """
    return fit_cox(data, ties, robust, penalty, subdistribution(data, censoring))


def subdistribution(data: SurvivalData, censoring: Any = None) -> RiskSets:
    """The risk sets of Fine and Gray's model, for `fit_cox`, `proportionality` and `baselines`.

    G is the Kaplan-Meier curve of the time to censoring; at each time events come first. Nothing is
    expanded: it is linear in rows. Raises ValueError for data without `competing`, and DataError
    where rows enter late, for which these weights are wrong.
    """
    if data.competing is None:
        raise ValueError("the data do not say which rows had a competing event")
    if data.rows and data.start.max() >= data.stop.min():
        raise DataError(
            "Fine and Gray's model needs everyone from the beginning, and some rows enter late; "
            "use the hazard of each cause (cox) instead"
        )
    risk = RiskSets.of(data)
    group = np.zeros(data.rows, np.intp)
    if censoring is not None:
        _, group = np.unique(np.asarray(censoring), return_inverse=True)
    stratum = np.zeros(data.rows, np.intp) if data.strata is None else data.strata
    linger = []
    for g in range(int(group.max(initial=0)) + 1):
        mine = group == g
        row = np.flatnonzero(mine & data.competing)
        if not len(row):
            continue
        time, still = _still_seen(data, mine)
        begin = np.where(risk.upto[row] < risk.times, risk.upto[row], risk.bounds[stratum[row]] - 1)
        begin = begin + 1
        begin = np.where(begin < risk.bounds[stratum[row] + 1], begin, risk.times)
        factor = 1.0 / _before(time, still, data.stop[row])
        linger.append(Linger(row, begin, factor, _before(time, still, risk.time)))
    return dataclasses.replace(risk, linger=tuple(linger))


def _still_seen(data: SurvivalData, mine: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The Kaplan-Meier curve of the time to censoring of these rows: times, and G after each."""
    time, place = np.unique(data.stop[mine], return_inverse=True)
    n = data.n[mine].astype(np.float64)
    happened = data.event[mine] if data.competing is None else (data.event | data.competing)[mine]
    leaving = np.bincount(place, n)
    events = np.bincount(place, n * happened)
    at_risk = np.cumsum(leaving[::-1])[::-1] - events
    censored = leaving - events
    return time, np.cumprod(1.0 - np.divide(censored, at_risk, out=censored * 0, where=at_risk > 0))


def _before(time: Floats, after: Floats, at: Floats) -> Floats:
    """The curve just before each of `at`."""
    return np.concatenate([[1.0], after])[np.searchsorted(time, at, side="left")]
