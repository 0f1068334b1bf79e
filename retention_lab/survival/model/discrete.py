"""Rows of survival times in; person-period counts, and hazard models by period on them, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.data.codes import codes_of
from retention_lab.errors import DataError
from retention_lab.survival.model.byperiod import Link, Trials, largest
from retention_lab.survival.model.columns import CONSTANT, NOT_AT_RISK, redundant
from retention_lab.survival.model.data import SurvivalData

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
LARGEST = 5e7  # patterns x periods

NO_EVENTS = "no_events: no period has an event, so there is nothing to estimate"
SEPARATED = "separated: a combination of the columns tells events from the rest without fail"
NOT_CONVERGED = "not_converged: the search for the coefficients did not come to an end"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PersonPeriods:
    """Trials and events by period and covariates; a row for each that has trials.

    ======= ===== ===========================================================
    names   K     the covariates
    edges   P + 1 period p, counted from 1, is (edges[p - 1], edges[p]]
    period  R     1 .. P
    x       R x K covariates
    trials  R     units at risk all through the period, or until their event
    events  R     those that had the event in it
    ======= ===== ===========================================================
    """

    names: tuple[str, ...]
    edges: Floats
    period: npt.NDArray[np.intp]
    x: Floats
    trials: Counts
    events: Counts


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DiscreteFit:
    """A model of the hazard by period; arrays have shape (K,) and (K, K).

    `names` are `(intercept)`, `period=2` ... against the first period with events, and the
    covariates. With cloglog the covariates' coefficients are log hazard ratios, with logit log odds
    ratios of the hazard. `left_out` are periods without an event, or with nothing else: their
    hazard is 0 or 1, and they say nothing about the covariates. `dropped` are columns that cannot
    be estimated, with the reason.
    """

    names: tuple[str, ...]
    coef: Floats
    std_error: Floats
    covariance: Floats
    loglik: float
    deviance: float
    link: Link
    trials: int
    events: int
    dropped: Mapping[str, str]
    left_out: tuple[int, ...]
    converged: bool
    note: str | None = None

    @property
    def p_value(self) -> Floats:
        """Two-sided, by the normal distribution of coef / std_error."""
        return np.asarray(2.0 * special.ndtr(-np.abs(self.coef / self.std_error)))


def person_periods(data: SurvivalData, edges: Any = None) -> PersonPeriods:
    """Counts by period and covariates of `data` (from a life table: `design`); strata are dropped.

    `edges` (P + 1, ascending) are the ends of the periods, the first one the beginning; by default
    each distinct event time ends a period. An event at or before the first edge belongs to period
    1. Who is censored, or enters, within a period is no trial of it.

    Raises ValueError for edges that do not ascend, and DataError where there are too many patterns
    of covariates times periods, with advice.
    """
    if edges is None:
        found = np.unique(data.stop[data.event])
        bounds = np.concatenate([[-np.inf], found])
    else:
        bounds = np.asarray(edges, np.float64)
    if len(bounds) < 1 or np.any(np.diff(bounds) <= 0):
        raise ValueError("the edges of periods are to ascend")
    periods = len(bounds) - 1
    pattern, patterns = _patterns(data.x)
    if len(patterns) * (periods + 1) > LARGEST:
        raise DataError(
            f"{len(patterns):,} patterns of covariates times {periods:,} periods are too many; "
            "use longer periods, or fewer or coarser covariates"
        )
    left = bounds[:-1].copy()
    left[:1] = -np.inf
    first = np.searchsorted(left, np.where(data.start <= bounds[0], -np.inf, data.start), "left")
    last = np.searchsorted(bounds[1:], data.stop, side="right")
    happened = np.searchsorted(bounds[1:], data.stop, side="left")
    inside = data.event & (happened < periods) & (first <= happened)
    last = np.where(inside, happened + 1, last)
    counted = first < last
    trials = np.zeros((len(patterns), periods + 1), np.int64)
    np.add.at(trials, (pattern[counted], first[counted]), data.n[counted])
    np.subtract.at(trials, (pattern[counted], last[counted]), data.n[counted])
    trials = np.cumsum(trials, axis=1)[:, :periods]
    events = np.zeros((len(patterns), periods), np.int64)
    np.add.at(events, (pattern[inside], happened[inside]), data.n[inside])
    where, period = np.nonzero(trials)
    kept = trials[where, period], events[where, period]
    return PersonPeriods(data.names, bounds, period + 1, patterns[where], *kept)


def fit_discrete(periods: PersonPeriods, link: Link = "cloglog") -> DiscreteFit:
    """A binomial model of events among trials: an indicator a period, and the covariates.

    With cloglog it is Cox's model for times known by period only. By maximum likelihood; errors
    from the expected information. Columns that are combinations of earlier
    ones are dropped and named. Without events the numbers are nan.
    Sources: Prentice and Gloeckler (1978), Biometrics 34(1), 57-67; Allison (1982), Sociological
    Methodology 13, 61-98.
    """
    if link not in ("cloglog", "logit"):
        raise ValueError(f"link must be cloglog or logit, not {link!r}")
    count = len(periods.edges) - 1
    by_period = np.zeros((2, count + 1), np.int64)
    np.add.at(by_period[0], periods.period, periods.trials)
    np.add.at(by_period[1], periods.period, periods.events)
    mixed = (by_period[1] > 0) & (by_period[1] < by_period[0])
    left_out = tuple(int(p) for p in np.flatnonzero((by_period[0] > 0) & ~mixed))
    used = np.flatnonzero(mixed)
    names = ["(intercept)", *(f"period={p}" for p in used[1:]), *periods.names]
    rows = mixed[periods.period]
    trials, events = periods.trials[rows].astype(float), periods.events[rows].astype(float)
    x = periods.x[rows]
    nothing, square = np.full(len(names), np.nan), np.full((len(names), len(names)), np.nan)
    total = int(trials.sum()), int(events.sum())
    empty = DiscreteFit(
        tuple(names), nothing, nothing, square, np.nan, np.nan, link,
        *total, {}, left_out, False, NO_EVENTS,
    )  # fmt: skip
    if not len(used):
        return empty
    # around 0 and of unit spread: years, hazards of one in a million and amounts of a million
    moves = np.ptp(x, axis=0) > 0
    middle, scale = trials @ x / trials.sum(), np.where(moves, x.std(axis=0), 1.0)
    near = np.where(moves, (x - middle) / scale, 0.0)
    data = Trials.of(np.searchsorted(used, periods.period[rows]), near, trials, events)
    dropped = _dropped(data, names)
    kept = [i for i, name in enumerate(names) if name not in dropped]
    empty = dataclasses.replace(
        empty,
        names=tuple(names[i] for i in kept),
        coef=nothing[kept],
        std_error=nothing[kept],
        covariance=square[np.ix_(kept, kept)],
        dropped=dropped,
    )
    columns = np.array(kept)[np.array(kept) >= len(used)] - len(used)
    data = dataclasses.replace(data, x=data.x[:, columns])
    return _fitted(data, middle[columns], scale[columns], empty)


def _dropped(data: Trials, names: Sequence[str]) -> dict[str, str]:
    """Columns that go, by name. A year is held against its spread, not its distance from 0."""
    periods = len(data.first)
    whole = data.information(data.trials)
    n = np.diag(whole)[:periods].copy()
    # the intercept in place of the first period; the others less their means, which is what
    # covariates are already
    whole[:periods, :periods] -= np.outer(n, n) / n.sum()
    whole[0], whole[:, 0] = 0.0, 0.0
    whole[0, 0] = n.sum()
    found = redundant(whole, np.diag(whole), names)
    return {names[i]: CONSTANT if why == NOT_AT_RISK else why for i, why in found.items()}


def _fitted(data: Trials, middle: Floats, scale: Floats, empty: DiscreteFit) -> DiscreteFit:
    """The fit, with coefficients of the intercept, differences to it, and covariates as given."""
    periods = len(data.first)
    try:
        fit = largest(data, empty.link)
    except np.linalg.LinAlgError:
        return dataclasses.replace(empty, note=SEPARATED)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.diag(fit.covariance))
    if not np.all(np.abs(fit.coef) + error < 1e3):
        return dataclasses.replace(empty, note=SEPARATED)
    back = np.diag(np.append(np.ones(periods), 1.0 / scale))
    back[1:periods, 0] = -1.0
    back[0, periods:] = -middle / scale
    covariance = back @ fit.covariance @ back.T
    return dataclasses.replace(
        empty,
        coef=back @ fit.coef,
        std_error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        loglik=fit.loglik,
        deviance=fit.deviance,
        converged=fit.converged,
        note=None if fit.converged else NOT_CONVERGED,
    )


def _patterns(x: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """The code of each row's covariates, and the covariates of each code."""
    if not x.shape[1]:
        return np.zeros(len(x), np.intp), np.zeros((1, 0))
    key = np.zeros(len(x), np.intp)
    for column in x.T:
        codes, levels = codes_of(column)
        _, key = np.unique(key * max(len(levels), 1) + codes, return_inverse=True)
    _, first = np.unique(key, return_index=True)
    return key, x[first]
