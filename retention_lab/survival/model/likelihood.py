"""Rows, risk sets and coefficients in; Cox's partial likelihood with its derivatives out.

With w = n exp(x'b), S0, S1, S2 are the sums of w, w x, w x x' over the rows at risk at an event
time, and T0, T1, T2 those over the rows that have the event then. The k-th of D deaths there has
the denominator phi = S0 - f T0, f = k / D (Efron; Breslow: f = 0), so that

    log likelihood = sum n x'b over events - sum log phi
    score          = sum n x over events - sum (S1 - f T1) / phi
    information    = sum (S2 - f T2) / phi - (S1 - f T1)(S1 - f T1)' / phi^2.

Second moments are never formed by event time: sum S2 A over the times is X' diag(w h) X, where h
adds A up over the times at which the row is at risk. All is linear in rows.
Source: Cox (1972), JRSS B 34(2), 187-220; Therneau and Grambsch (2000), Modeling Survival Data,
sections 3.1 and 3.3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import sparse

from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.patterns import Patterns, Pooled, slots
from retention_lab.survival.model.riskset import RiskSets, chunks
from retention_lab.survival.model.ties import DeathSums, Ties, death_sums

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Rows with their risk sets, and the centre [K] and scale [K] in which they are looked at."""

    data: SurvivalData
    risk: RiskSets
    centre: Floats
    scale: Floats
    ties: Ties = "efron"
    pooled: Pooled | None = None

    @classmethod
    def of(cls, data: SurvivalData, ties: Ties = "efron", risk: RiskSets | None = None) -> Problem:
        """Centre and scale are the mean and standard deviation of each covariate over all rows."""
        size = max(data.size, 1)
        risk = risk or RiskSets.of(data)
        patterns = Patterns.of(data)
        n = data.n.astype(np.float64) if patterns is None else patterns.n
        x = data.x if patterns is None else patterns.x
        centre = n @ x / size
        square = np.zeros(data.k)
        for part in chunks(len(x)):
            off = x[part] - centre
            square += n[part] @ (off * off)
        scale = np.sqrt(square / size)
        scale[~(scale > 0)] = 1.0
        if patterns is None:
            return cls(data, risk, centre, scale, ties)
        pooled = Pooled.of(data, risk, patterns.code, (x - centre) / scale)
        return cls(data, risk, centre, scale, ties, pooled)

    def standard(self, part: slice) -> Floats:
        """The rows of `part`, centred and scaled, [rows, K]."""
        off = self.data.x[part] - self.centre
        off *= 1.0 / self.scale
        return np.asarray(off)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class State:
    """The likelihood at one set of coefficients (of the standardised covariates).

    ========== ===== ==============================================================
    beta       K     coefficients of the standardised covariates
    weight     R     n exp(x'b)
    s0         G     risk sums
    m1, u1     G x K S1 / S0 and T1 / S0
    events_x   G x K sum of n x over the events
    sums             sums over the deaths
    ========== ===== ==============================================================
    """

    problem: Problem
    beta: Floats
    weight: Floats
    s0: Floats
    m1: Floats
    u1: Floats
    events_x: Floats
    sums: DeathSums
    loglik: float

    @property
    def schoenfeld(self) -> Floats:
        """Sum over the events of each time of x less its mean over those at risk, [G, K]."""
        a = self.sums.first[:, :, None]
        return np.asarray(self.events_x - (self.m1 * a[0] - self.u1 * a[1]))

    @property
    def score(self) -> Floats:
        """The first derivative, [K]."""
        return np.asarray(self.schoenfeld.sum(axis=0))

    def hazards(self, weight: Floats | None = None) -> Floats:
        """By row the sum of `weight` / phi over the deaths at which it is at risk, [R].

        Without `weight` [G] it is the baseline hazard that the row has gone through; a row that has
        the event counts at the k-th of D tied deaths with 1 - k / D.
        """
        risk, event = self.problem.risk, self.problem.data.event
        a = self.sums.first / self.s0 * (1.0 if weight is None else weight)
        found = risk.spread(a[0]).rows(slice(0, len(event)))
        found[event] -= a[1][risk.upto[event]]
        return found

    def information(self, weight: Floats | None = None) -> Floats:
        """The second derivative with its sign turned, [K, K]; `weight` [G] multiplies each time."""
        inner = self.weight * self.hazards(weight)
        k = len(self.beta)
        found = np.zeros((k, k))
        pooled = self.problem.pooled
        if pooled is not None:
            inner = np.bincount(pooled.code, inner, len(pooled.x)).astype(np.float64)
        negative = weight is not None and bool(np.any(weight < 0))
        root = inner if negative else np.sqrt(np.maximum(inner, 0.0))
        rows = self.rows() if pooled is None else [(slice(0, len(pooled.x)), pooled.x.copy())]
        for part, x in rows:
            if negative:
                found += (x * root[part, None]).T @ x
            else:
                x *= root[part, None]
                found += x.T @ x
        b = self.sums.second if weight is None else self.sums.second * weight
        cross = (self.m1 * b[1][:, None]).T @ self.u1
        found -= (self.m1 * b[0][:, None]).T @ self.m1 - cross - cross.T
        found -= (self.u1 * b[2][:, None]).T @ self.u1
        return np.asarray(found + found.T) / 2.0

    def mean_hazards(self) -> tuple[Floats, Floats]:
        """By event time the sums over its deaths of xbar / phi, and of f xbar / phi, [G, K]."""
        b = (self.sums.second / self.s0)[:, :, None]
        return self.m1 * b[0] - self.u1 * b[1], self.m1 * b[1] - self.u1 * b[2]

    def rows(self) -> Iterator[tuple[slice, Floats]]:
        """The standardised rows, some thousand at a time."""
        for part in chunks(self.problem.data.rows):
            yield part, self.problem.standard(part)


def likelihood(problem: Problem, beta: Floats, cubes: bool = False) -> State:
    """The log partial likelihood at `beta` [K], of the standardised covariates.

    Where something overflows the log-likelihood is -inf and no other number means anything.
    """
    risk, g = problem.risk, problem.risk.times
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        added = _sums_of_rows if problem.pooled is None else _sums_of_patterns
        weight, main, events_x, late, after = added(problem, beta)
        eta_events = float(events_x[:g].sum(axis=0) @ beta)
        t = main[g + 1 : -1]
        s = risk.tails(main[:g] + t - (0.0 if late is None else late[:g]))
        for group, total in zip(risk.linger, after, strict=True):
            s = s + group.multiplier[:, None] * risk.heads(total[:g])
        s0 = np.ascontiguousarray(s[:, 0])
        share, inverse = np.clip(t[:, 0] / s0, 0.0, 1.0), 1.0 / s0[:, None]
        fine = bool(np.all(np.isfinite(s)) and np.all(np.isfinite(inverse)) and np.all(s0 > 0))
        sums = death_sums(share if fine else s0 * 0.0, risk.deaths, problem.ties, cubes)
        loglik = -np.inf
        if fine:
            loglik = eta_events - float((risk.deaths * np.log(s0) + sums.log).sum())
        m1, u1 = s[:, 1:] * inverse, t[:, 1:] * inverse
    return State(problem, beta, weight, s0, m1, u1, events_x[:g], sums, loglik)


Sums = tuple[Floats, Floats, Floats, Floats | None, list[Floats]]


def _sums_of_rows(problem: Problem, beta: Floats) -> Sums:
    """By row its weight; by event time and column the sums that enter, leave and linger."""
    data, risk = problem.data, problem.risk
    g, k = risk.times, data.k
    weight = np.empty(data.rows)
    main, events_x = np.zeros((2 * (g + 1), k + 1)), np.zeros((g + 1, k))
    late = None if risk.before is None else np.zeros((g + 1, k + 1))
    after = [np.zeros((g + 1, k + 1)) for _ in risk.linger]
    slot = slots(data, risk)
    for part in chunks(data.rows):
        x = problem.standard(part)
        n = data.n[part]
        weight[part] = w = n * np.exp(x @ beta)
        event = data.event[part]
        columns = np.concatenate([np.ones((len(x), 1)), x], axis=1)
        _add(main, slot[part], w, columns)
        _add(events_x, risk.upto[part][event], n[event], x[event])
        if risk.before is not None and late is not None:
            _add(late, risk.before[part], w, columns)
        for group, sums in zip(risk.linger, after, strict=True):
            mine = group.within(part)
            here = group.row[mine]
            w_after = weight[here] * group.factor[mine]
            _add(sums, group.begin[mine], w_after, columns[here - part.start])
    return weight, main, events_x, late, after


def _sums_of_patterns(problem: Problem, beta: Floats) -> Sums:
    """The same from the counts by pattern."""
    pooled = problem.pooled
    assert pooled is not None
    w = np.exp(pooled.x @ beta)
    columns = np.concatenate([w[:, None], w[:, None] * pooled.x], axis=1)
    weight = np.asarray(problem.data.n * w[pooled.code], np.float64)
    late = None if pooled.entering is None else pooled.entering @ columns
    after = [held @ columns for held in pooled.lingering]
    return weight, pooled.leaving @ columns, pooled.events_x, late, after


def _add(
    out: Floats, slot: npt.NDArray[np.intp], weight: npt.NDArray[np.generic], x: Floats
) -> None:
    """Add weight x row to `out` [bins, columns] at the row's slot."""
    used = None
    if len(out) > 2 * len(slot):
        used, slot = np.unique(slot, return_inverse=True)
    bins, each = len(out) if used is None else len(used), np.arange(len(slot) + 1)
    table = sparse.csc_array((weight.astype(np.float64), slot, each), shape=(bins, len(slot)))
    if used is None:
        out += table @ x
    else:
        out[used] += table @ x
