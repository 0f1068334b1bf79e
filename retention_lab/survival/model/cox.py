"""Rows or a life table in; Cox's proportional hazards model, fitted, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.model.columns import CONSTANT, constants, redundant
from retention_lab.survival.model.coxfit import CoxFit, Test, Ties
from retention_lab.survival.model.data import Missing, SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.exact import check, exact_likelihood
from retention_lab.survival.model.firth import Penalised, curvature, penalised
from retention_lab.survival.model.likelihood import Problem, State, likelihood
from retention_lab.survival.model.newton import Point, Search, maximise
from retention_lab.survival.model.riskset import RiskSets
from retention_lab.survival.model.robust import sandwich

Floats = npt.NDArray[np.float64]
Penalty = Literal["auto", "firth"]
PENALISED_STEPS = 200
PENALISED_CLOSE = 1e-6  # the penalty holds fewer digits where a coefficient is large

NO_EVENTS = "no_events: the event never happened, so there is nothing to estimate"
NO_COLUMNS = "no_covariates: no covariate is left to estimate"
MONOTONE = (
    "monotone: the likelihood rises for ever along {}, which separates the events from the "
    "others; the estimate is Firth's penalised one, with the error of the information"
)
MONOTONE_EXACT = (
    "monotone: the likelihood rises for ever along {}; there is no estimate with exact ties, "
    "and a penalised one with ties: efron"
)
NOT_CONVERGED = "not_converged: the search for the coefficients did not come to an end"


def cox(
    table: LifeTable,
    covariates: Sequence[str],
    strata: Sequence[str] = (),
    event: str | None = None,
    ties: Ties = "efron",
    robust: bool = False,
    penalty: Penalty = "auto",
    missing: Missing = "error",
) -> CoxFit:
    """Cox's model of a life table; `covariates` and `strata` are among its keys.

    Numeric keys are taken as they are, text as a 0/1 column a level against the largest one:
    `region=Europe`. `event` is one of the table's causes (default: the first); all others end a
    unit's time at risk as censoring does. Raises DataError as `design` does, and KeyError for an
    unknown key.
    """
    data = design(table, covariates, strata=strata, event=event, missing=missing)
    return fit_cox(data, ties=ties, robust=robust, penalty=penalty)


def fit_cox(
    data: SurvivalData,
    ties: Ties = "efron",
    robust: bool | None = None,
    penalty: Penalty = "auto",
    risk: RiskSets | None = None,
) -> CoxFit:
    """Fit Cox's model by Newton's method; exact for counted rows: n = 3 is three rows.

    `robust` (default: where `data` has clusters) adds Lin and Wei's errors, not to a penalised fit:
    they come near 0 for a column without events. Columns that are constant, constant among those at
    risk, or combinations of earlier ones are dropped and named. Where the likelihood is monotone (a
    covariate separates the events from the rest) the note says so, and the estimate is Firth's;
    `penalty="firth"` asks for it in any case. Without events the numbers are nan. `risk` are risk
    sets other than those of `data`, as Fine and Gray's.

    Raises ValueError for robust or penalised exact ties, and DataError for exact ties of large
    data.
    Sources: Cox (1972), JRSS B 34(2), 187-220; ties as in `ties.py`; robust errors as in
    `robust.py`; penalty as in `firth.py`.
    """
    robust = data.cluster is not None if robust is None else robust
    if ties == "exact" and (robust or penalty == "firth"):
        raise ValueError("exact ties have no robust errors and no penalty here")
    flat = constants(data.x)
    dropped = {data.names[i]: CONSTANT for i in flat}
    dropped |= {c.key: CONSTANT for c in data.coding if not c.names}
    kept = [i for i in range(data.k) if i not in flat]
    if not data.events:
        return _nothing(data, kept, dropped, ties, NO_EVENTS)
    problem, begin, more = _estimable(data.columns(kept), ties, risk)
    dropped |= more
    model = problem.data
    if not model.k:
        return _nothing(data, [], dropped, ties, NO_COLUMNS, float(begin[0].loglik))
    extent = (model.x.max(axis=0) - model.x.min(axis=0)) / problem.scale

    def reach(step: Floats) -> Floats:
        return np.asarray(np.abs(step) * extent)

    search: Search[Any]
    if ties == "exact":
        search = maximise(_exactly(problem), begin, reach)
    elif penalty == "auto":
        search = maximise(_plainly(problem), begin, reach)
    note, along = None, list[str]()
    if penalty == "auto" and search.ended == "monotone":
        far = reach(search.step)
        along = [c for c, r in zip(model.names, far, strict=True) if r > 0.1 * far.max()]
        note = (MONOTONE_EXACT if ties == "exact" else MONOTONE).format(_listed(along))
        if ties == "exact":
            return _nothing(data, kept, dropped, ties, note, float(search.null.loglik))
        penalty = "firth"
    if penalty == "firth":
        search = _penalised(problem)
    if search.ended != "converged":
        note = NOT_CONVERGED if note is None else f"{note}; its search did not come to an end"
    found = _fit(problem, search, ties, robust, penalty, data.notes, dropped, note)
    return dataclasses.replace(found, separated=tuple(along))


def state_of(fit: CoxFit, data: SurvivalData, risk: RiskSets | None = None) -> State:
    """The partial likelihood of `data` at the coefficients of `fit`, for residuals and curves.

    Raises ValueError for exact ties, and where `data` lacks a column of the fit.
    """
    if fit.ties == "exact":
        raise ValueError("exact ties have a likelihood only; fit with efron for all else")
    if not set(fit.names) <= set(data.names):
        raise ValueError(f"the data lack {sorted(set(fit.names) - set(data.names))}")
    model = data.columns([data.names.index(c) for c in fit.names])
    problem = Problem.of(model, fit.ties, risk)
    return likelihood(problem, fit.coef * problem.scale)


def _plainly(problem: Problem) -> Callable[[Floats], Point]:
    return lambda beta: likelihood(problem, beta)


def _exactly(problem: Problem) -> Callable[[Floats], Point]:
    return lambda beta: exact_likelihood(problem, beta)


def _penalised(problem: Problem) -> Search[Penalised]:
    null = penalised(problem, np.zeros(problem.data.k))
    return maximise(
        lambda beta: penalised(problem, beta),
        (null, null.inner),
        steps=PENALISED_STEPS,
        close=PENALISED_CLOSE,
        curvature=lambda point: curvature(problem, point),
    )


def _estimable(
    data: SurvivalData, ties: Ties, risk: RiskSets | None
) -> tuple[Problem, tuple[Point, Floats], dict[str, str]]:
    """The problem without redundant columns, the null likelihood, and the reasons for those."""
    if ties == "exact":
        check(Problem.of(data))
        data = data.expanded()
        risk = None
    problem = Problem.of(data, "efron" if ties == "exact" else ties, risk)
    null = likelihood(problem, np.zeros(data.k))
    information = null.information()
    found = redundant(information, np.full(data.k, float(data.events)), data.names)
    reasons = {data.names[i]: why for i, why in found.items()}
    kept = [i for i in range(data.k) if i not in found]
    point: Point = null
    if found:
        fewer = Problem.of(data.columns(kept), problem.ties, problem.risk)
        problem, point = fewer, likelihood(fewer, np.zeros(len(kept)))
        information = information[np.ix_(kept, kept)]
    if ties == "exact":
        exact = exact_likelihood(problem, np.zeros(len(kept)))
        point, information = exact, exact.second
    return problem, (point, information), reasons


def _fit(
    problem: Problem,
    search: Search[Point],
    ties: Ties,
    robust: bool,
    penalty: Penalty,
    notes: Mapping[str, int],
    dropped: Mapping[str, str],
    note: str | None,
) -> CoxFit:
    data, scale = problem.data, problem.scale
    k, point, null = data.k, search.point, search.null
    inverse = _inverse(search.information)
    state = point.state if isinstance(point, Penalised) else point
    robust_inverse = None
    if robust and isinstance(state, State) and penalty != "firth":
        robust_inverse = sandwich(state, inverse)
    used = inverse if robust_inverse is None else robust_inverse
    u = null.score
    return CoxFit(
        names=data.names,
        coef=point.beta / scale,
        std_error=np.sqrt(np.diag(inverse)) / scale,
        robust_error=None if robust_inverse is None else np.sqrt(np.diag(robust_inverse)) / scale,
        covariance=inverse / np.outer(scale, scale),
        robust_covariance=(
            None if robust_inverse is None else robust_inverse / np.outer(scale, scale)
        ),
        loglik_null=float(null.loglik),
        loglik=float(point.loglik),
        lr=Test.of(2.0 * (point.loglik - null.loglik), k),
        wald=Test.of(_form(_inverse(used), point.beta), k),
        score=Test.of(_form(_inverse(search.information_null), u), k),
        size=data.size,
        events=data.events,
        strata=max(len(data.strata_names), 1),
        clusters=0 if data.cluster is None else len(np.unique(data.cluster)),
        iterations=search.iterations,
        converged=search.ended == "converged",
        ties=ties,
        penalty="firth" if penalty == "firth" else "none",
        centre=problem.centre,
        coding=data.coding,
        dropped=dict(dropped),
        notes=dict(notes),
        note=note,
    )


def _nothing(
    data: SurvivalData,
    kept: Sequence[int],
    dropped: Mapping[str, str],
    ties: Ties,
    note: str,
    loglik: float = 0.0,
) -> CoxFit:
    """A fit without estimates, and the reason."""
    names = tuple(data.names[i] for i in kept if data.names[i] not in dropped)
    k, none = len(names), Test(None, len(names), None)
    size, empty = max(data.size, 1), np.full(len(names), np.nan)
    square = np.full((k, k), np.nan)
    return CoxFit(
        names=names, coef=empty, std_error=empty, robust_error=None, covariance=square,
        robust_covariance=None, loglik_null=loglik, loglik=loglik, lr=none, wald=none, score=none,
        size=data.size, events=data.events, strata=max(len(data.strata_names), 1), clusters=0,
        iterations=0, converged=False, ties=ties, penalty="none",
        centre=np.array([data.n @ data.x[:, data.names.index(c)] / size for c in names]),
        coding=data.coding, dropped=dict(dropped), notes=dict(data.notes), note=note,
    )  # fmt: skip


def _inverse(information: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.inv(information), np.float64)
    except np.linalg.LinAlgError:
        return np.full_like(information, np.nan)


def _form(inner: Floats, v: Floats) -> float:
    return float(v @ inner @ v)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
