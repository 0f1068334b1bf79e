"""A fitted Cox model and its rows in; residuals and errors that survive a wrong model out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from retention_lab.survival.model.likelihood import State

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Residuals as R's `residuals.coxph` has them; each of one unit of the row.

    ============== ===== ==================================================================
    martingale     R     events less those expected
    deviance       R     the same, made symmetric
    score          R x K what the unit adds to the score
    dfbeta         R x K by how much the unit moves the coefficients, to first order
    schoenfeld     E x K by row with the event: x less its mean over those at risk then
    schoenfeld_row E     the position of that row, in the order of strata and event times
    ============== ===== ==================================================================
    """

    martingale: Floats
    deviance: Floats
    score: Floats
    dfbeta: Floats
    schoenfeld: Floats
    schoenfeld_row: Places


def residuals(state: State, covariance: Floats) -> Residuals:
    """All residuals at `state`; `covariance` [K, K] is that of the coefficients in x's own units.

    Source: Therneau and Grambsch (2000), Modeling Survival Data, sections 4.2 to 4.4 and 7.1, tied
    deaths as Efron's likelihood treats them.
    """
    data, risk, scale = state.problem.data, state.problem.risk, state.problem.scale
    expected = state.weight / data.n * state.hazards()
    martingale = data.event - expected
    inner = martingale + data.event * np.log(np.where(data.event, np.maximum(expected, 1e-300), 1))
    deviance = np.sign(martingale) * np.sqrt(np.maximum(-2.0 * inner, 0.0))
    score = np.concatenate([u for _, u in score_rows(state)] or [np.zeros((0, data.k))]) * scale
    rows = np.flatnonzero(data.event)
    rows = rows[np.argsort(risk.upto[rows], kind="stable")]
    off = (data.x[rows] - state.problem.centre) - _event_means(state)[risk.upto[rows]] * scale
    return Residuals(martingale, deviance, score, score @ covariance, off, rows)


def score_rows(state: State) -> Iterator[tuple[slice, Floats]]:
    """Score residuals of single units (standardised covariates), some thousand rows at a time.

    With xbar_k the weighted mean of x at the k-th of D tied deaths, 1 - f_k the share with which a
    row that has the event then is still at risk (1 for the others), the residual is

        event (x - mean of xbar_k) - exp(x'b) sum (1 - f_k) (x - xbar_k) / phi_k,

    the sum over all deaths at which the row is at risk. Its two parts, sum 1 / phi and sum xbar /
    phi, are differences of running sums: linear in rows.
    """
    data, risk = state.problem.data, state.problem.risk
    always, at_event = state.mean_hazards()
    all_along = risk.spread(always)
    means, hazards = _event_means(state), state.hazards()
    for part, x in state.rows():
        inner = all_along.rows(part)
        event = data.event[part]
        here = risk.upto[part][event]
        inner[event] -= at_event[here]
        inner -= x * hazards[part, None]
        inner *= (state.weight[part] / data.n[part])[:, None]
        inner[event] += x[event] - means[here]
        yield part, inner


def meat(state: State) -> Floats:
    """The variance of the score that the rows themselves show, [K, K] (standardised covariates).

    Without clusters each of a row's n units is a cluster: sum n u u'. With clusters the row's n
    units belong to that one cluster, so its total is U = sum n u over its rows: sum U U'.
    Source: Lin and Wei (1989), JASA 84(408), 1074-1078; with several events of a customer Lin, Wei,
    Yang and Ying (2000), JRSS B 62(4), 711-730.
    """
    data = state.problem.data
    if data.cluster is None:
        found = np.zeros((data.k, data.k))
        for part, u in score_rows(state):
            found += (u * data.n[part, None]).T @ u
        return found
    total = np.zeros((int(data.cluster.max(initial=-1)) + 1, data.k))
    for part, u in score_rows(state):
        np.add.at(total, data.cluster[part], u * data.n[part, None])
    return np.asarray(total.T @ total)


def sandwich(state: State, inverse: Floats) -> Floats:
    """The robust covariance, from `inverse`, that of the information (standardised covariates)."""
    found = inverse @ meat(state) @ inverse
    return np.asarray(found + found.T) / 2.0


def _event_means(state: State) -> Floats:
    """By event time the mean over its deaths of x over those at risk, [G, K], standardised."""
    a = state.sums.first[:, :, None]
    deaths = state.problem.risk.deaths[:, None]
    return np.asarray((state.m1 * a[0] - state.u1 * a[1]) / deaths)
