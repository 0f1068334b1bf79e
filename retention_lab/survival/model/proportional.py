"""A fitted Cox model and its rows in; tests of whether its hazards are proportional out."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.data.codes import times_of
from retention_lab.survival.model.cox import state_of
from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.likelihood import Problem, State
from retention_lab.survival.model.riskset import RiskSets

Floats = npt.NDArray[np.float64]
Transform = Literal["km", "rank", "identity", "log"]

NO_FIT = "no_estimate: the model has no estimate to test"
PENALISED = "penalised: the test is one of the plain likelihood, which has no maximum here"
TIME_ZERO = "time_zero: an event at time 0 has no logarithm; use another transform"
ONE_TIME = "one_time: all events are at one time, so no effect can change with time"
SINGULAR = "singular: the data do not tell a change with time from the effect itself"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Proportionality:
    """Chi-square tests by term, the last of all terms together; arrays have shape (terms + 1,).

    A text covariate is one term with a degree of freedom for each of its columns. A statistic that
    cannot be had is nan, and `note` says why.
    """

    terms: tuple[str, ...]
    chisq: Floats
    df: npt.NDArray[np.int64]
    p_value: Floats
    transform: Transform
    note: str | None = None


def proportionality(
    fit: CoxFit,
    data: SurvivalData,
    transform: Transform = "km",
    risk: RiskSets | None = None,
) -> Proportionality:
    """Score tests of a coefficient b + theta g(t) against theta = 0, by term and for all.

    g is 1 - the Kaplan-Meier curve of all rows just before t (km), the mean rank of the event time
    among the ends of all rows (rank), t itself, or its logarithm. With V the variance of x among
    those at risk at an event time, the score is U = sum g (x - xbar), its information sum g^2 V,
    and sum g V with b; tied deaths count as in the fit, and a counted row as its n units. The
    errors are those of the information, whether or not rows are clustered. A penalised fit has no
    test: the plain score is not 0 there. `risk` is as in `fit_cox`.

    Raises ValueError for exact ties and data without the fit's columns.
    Source: Grambsch and Therneau (1994), Biometrika 81(3), 515-526, as the score test of R's
    survival from version 3.0 on.
    """
    terms = _terms(fit)
    df = np.array([len(columns) for _, columns in terms] + [len(fit.names)], np.int64)
    names = (*(name for name, _ in terms), "all")
    nothing = np.full(len(names), np.nan)
    if not len(fit.coef) or np.isnan(fit.coef).any():
        return Proportionality(names, nothing, df, nothing, transform, NO_FIT)
    if fit.penalty != "none":
        return Proportionality(names, nothing, df, nothing, transform, PENALISED)
    state = state_of(fit, data, risk)
    time = state.problem.risk.time
    if transform == "log" and np.any(time <= 0):
        return Proportionality(names, nothing, df, nothing, transform, TIME_ZERO)
    g = _transformed(state.problem, transform)
    g = g - np.average(g, weights=state.problem.risk.deaths)
    size = float(np.max(np.abs(g), initial=0.0))
    if not size > 0:
        return Proportionality(names, nothing, df, nothing, transform, ONE_TIME)
    groups = [columns for _, columns in terms] + [list(range(len(fit.names)))]
    chisq = _score_tests(state, g / size, groups)
    p_value = special.chdtrc(df, chisq)
    note = SINGULAR if np.isnan(chisq).any() else None
    return Proportionality(names, chisq, df, np.asarray(p_value), transform, note)


def _score_tests(state: State, g: Floats, groups: list[list[int]]) -> Floats:
    """Chi-square of the theta of each group of columns, given the coefficients."""
    u = g @ state.schoenfeld
    own, both, squared = (state.information(w) for w in (None, g, g * g))
    found = np.full(len(groups), np.nan)
    try:
        left = squared - both @ np.linalg.solve(own, both)
    except np.linalg.LinAlgError:
        return found
    for i, columns in enumerate(groups):
        inner = left[np.ix_(columns, columns)]
        total = np.sqrt(np.diag(squared)[columns])
        scaled = inner / np.outer(total, total)
        if np.linalg.eigvalsh(scaled).min() > 1e-10:
            found[i] = u[columns] @ np.linalg.solve(inner, u[columns])
    return found


def _transformed(problem: Problem, transform: Transform) -> Floats:
    """g at each event time, [G]."""
    data, risk = problem.data, problem.risk
    if transform == "identity":
        return risk.time
    if transform == "log":
        return np.asarray(np.log(risk.time))
    times, place = np.unique(risk.time, return_inverse=True)
    deaths = np.bincount(place, risk.deaths)
    at_risk = _not_before(data.stop, data.n, times)
    if transform == "rank":
        later = _not_before(data.stop, data.n, np.nextafter(times, np.inf))
        return np.asarray(data.size - (at_risk + later - 1.0) / 2.0)[place]
    late = data.start > -np.inf
    at_risk -= _not_before(data.start[late], data.n[late], times)
    curve = np.cumprod(1.0 - deaths / at_risk)
    return np.asarray(1.0 - np.concatenate([[1.0], curve[:-1]])[place])


def _not_before(values: Floats, n: npt.NDArray[np.int64], times: Floats) -> Floats:
    """How many of `values` are at or after each of `times`."""
    code, levels = times_of(values)
    count = np.bincount(code, n, minlength=len(levels)) if len(values) else np.zeros(0)
    later = np.append(np.cumsum(count[::-1])[::-1], 0.0)
    return np.asarray(later[np.searchsorted(levels, times, side="left")])


def _terms(fit: CoxFit) -> list[tuple[str, list[int]]]:
    """Names of the terms with the positions of their columns among those of the fit."""
    found = []
    for coding in fit.coding:
        columns = [i for i, name in enumerate(fit.names) if name in coding.names]
        if columns:
            found.append((coding.key, columns))
    return found
