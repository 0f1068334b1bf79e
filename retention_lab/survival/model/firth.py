"""A partial likelihood in; the same with Jeffreys' prior, whose maximum is always finite, out.

Firth's penalty adds log |I(b)| / 2 to the log-likelihood, and tr(I^-1 dI/db_j) / 2 to its score. It
takes away the bias of first order, and keeps coefficients finite where a covariate separates
those who have the event from all others.
Sources: Firth (1993), Biometrika 80(1), 27-38; for Cox's model Heinze and Schemper (2001),
Biometrics 57(1), 114-119.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from retention_lab.survival.model.likelihood import Problem, State, likelihood

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Penalised:
    """The penalised likelihood at one set of coefficients; `inner` is the information, [K, K]."""

    state: State
    inner: Floats
    loglik: float

    @property
    def beta(self) -> Floats:
        return self.state.beta

    def information(self) -> Floats:
        return self.inner

    @property
    def score(self) -> Floats:
        return self.state.score + _penalty_score(self.state, self.inner)


def penalised(problem: Problem, beta: Floats) -> Penalised:
    """The likelihood at `beta` [K] (standardised covariates) with Jeffreys' prior."""
    state = likelihood(problem, beta, cubes=True)
    if not np.isfinite(state.loglik):
        return Penalised(state, np.eye(len(beta)), -np.inf)
    inner = state.information()
    sign, logdet = np.linalg.slogdet(inner)
    fine = sign > 0 and np.isfinite(logdet)
    return Penalised(state, inner, state.loglik + 0.5 * float(logdet) if fine else -np.inf)


def curvature(problem: Problem, point: Penalised) -> Floats:
    """Minus the second derivative of the penalised likelihood, from differences of its score."""
    steps = 1e-4 * np.eye(len(point.beta))
    found = [point.score - penalised(problem, point.beta + step).score for step in steps]
    bent = np.array(found) / 1e-4
    return np.asarray(bent + bent.T) / 2.0


def _penalty_score(state: State, information: Floats) -> Floats:
    """tr(I^-1 dI/db_j) / 2 for all j, [K], linear in rows.

    The derivative of a weighted covariance is the third central moment. With K = I^-1, q = x'K x
    and xbar the mean at one death, the trace for that death is

        E[x q] - xbar E[q] - 2 E[x x'] K xbar + 2 xbar xbar' K xbar.
    """
    data, risk, sums = state.problem.data, state.problem.risk, state.sums
    if sums.third is None:
        raise ValueError("the penalty needs the sums of third powers")
    k = len(state.beta)
    inverse = np.linalg.inv(information)
    b, c = sums.second[:, :, None], sums.third[:, :, None]
    m1, u1 = state.m1, state.u1
    always, at_event = state.mean_hazards()
    means = risk.spread(always)
    hazards = state.hazards()
    q_all, q_dying = np.zeros(risk.times + 1), np.zeros(risk.times + 1)
    q_late = np.zeros(risk.times + 1)
    q_after = [np.zeros(risk.times + 1) for _ in risk.linger]
    found = np.zeros(k)
    for part, x in state.rows():
        toward = x @ inverse
        q = (toward * x).sum(axis=1)
        w, event = state.weight[part], data.event[part]
        inner = means.rows(part)
        inner[event] -= at_event[risk.upto[part][event]]
        found += (w * (q * hazards[part] - 2.0 * (toward * inner).sum(axis=1))) @ x
        wq = w * q
        np.add.at(q_all, risk.upto[part], wq)
        np.add.at(q_dying, risk.upto[part][event], wq[event])
        if risk.before is not None:
            np.add.at(q_late, risk.before[part], wq)
        for group, sums_after in zip(risk.linger, q_after, strict=True):
            mine = group.within(part)
            here = group.row[mine] - part.start
            np.add.at(sums_after, group.begin[mine], wq[here] * group.factor[mine])
    sq = risk.tails(q_all[:-1] - q_late[:-1])
    for group, sums_after in zip(risk.linger, q_after, strict=True):
        sq = sq + group.multiplier * risk.heads(sums_after[:-1])
    sq, tq = (sq / state.s0)[:, None], (q_dying[:-1] / state.s0)[:, None]
    found -= (m1 * (b[0] * sq - b[1] * tq) - u1 * (b[1] * sq - b[2] * tq)).sum(axis=0)
    ss, st, tt = (
        (left @ inverse * right).sum(axis=1)[:, None]
        for left, right in ((m1, m1), (m1, u1), (u1, u1))
    )
    found += 2.0 * (
        m1 * (ss * c[0] - 2.0 * st * c[1] + tt * c[2])
        - u1 * (ss * c[1] - 2.0 * st * c[2] + tt * c[3])
    ).sum(axis=0)
    return np.asarray(found / 2.0)
