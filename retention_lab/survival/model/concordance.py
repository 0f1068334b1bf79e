"""Times, events and risk scores of rows in; how often the higher risk has the earlier event out."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import SurvivalData

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
NO_PAIRS = "no_pairs: no two rows can be compared, as none is at risk when another has the event"


@dataclasses.dataclass(frozen=True, slots=True)
class Concordance:
    """Pairs by whether the one with the higher risk had the event first; counted n times.

    `estimate` is (concordant + tied / 2) / all pairs, None with a `note` where there are no pairs;
    `std_error` its infinitesimal jackknife error, each unit by itself.
    """

    estimate: float | None
    std_error: float | None
    concordant: float
    discordant: float
    tied: float
    note: str | None = None


def concordance(fit: CoxFit, data: SurvivalData) -> Concordance:
    """Concordance of the fit's risk scores with `data`, within strata, as R's survival counts it.

    Raises ValueError where `data` lacks a column of the fit.
    """
    if not len(fit.coef) or np.isnan(fit.coef).any():
        return Concordance(None, None, 0.0, 0.0, 0.0, NO_PAIRS)
    x = data.x[:, [data.names.index(c) for c in fit.names]]
    return concordance_of((x - fit.centre) @ fit.coef, data)


def concordance_of(risk: Floats, data: SurvivalData) -> Concordance:
    """Concordance of `risk` [R], higher for those who should have the event earlier.

    A pair counts where one has the event while the other is at risk and stays so: it ends later, or
    is censored at the same time. Scores that differ by rounding alone are ties. Time is of order R
    log T, T the number of distinct times.
    Source: Harrell, Califf, Pryor, Lee and Rosati (1982), JAMA 247(18), 2543-2546; its error
    Therneau and Atkinson, "Concordance", vignette of R's survival.
    """
    if not data.events:
        return Concordance(None, None, 0.0, 0.0, 0.0, NO_PAIRS)
    _, codes = np.unique(np.concatenate([data.stop, data.start]), return_inverse=True)
    stop, start = codes[: data.rows], codes[data.rows :]
    rank = _ranks(risk)
    stratum = np.zeros(data.rows, np.intp) if data.strata is None else data.strata
    event, late = data.event, data.start > -np.inf
    # those with the event ask at 2 t for all that end later; the censored end at 2 t + 1
    asking = _Places(stratum[event], (2 * stop)[event], rank[event], data.n[event])
    asked, answered = _compared(asking, _Places(stratum, 2 * stop + ~event, rank, data.n))
    if late.any():
        begun = _Places(stratum[late], (2 * start + 1)[late], rank[late], data.n[late])
        less = _compared(asking, begun)
        asked -= less[0]
        answered[:, late] -= less[1]
    n = data.n.astype(np.float64)
    discordant, tied, concordant = (float(v) for v in asked @ n[event])
    pairs = concordant + discordant + tied
    if not pairs > 0:
        return Concordance(None, None, 0.0, 0.0, 0.0, NO_PAIRS)
    estimate = (concordant + tied / 2.0) / pairs
    # what one unit adds to both parts: as the one with the event, and as the one compared with
    mine = answered
    mine[:, event] += asked
    influence = (mine[2] + mine[1] / 2.0 - estimate * mine.sum(axis=0)) / pairs
    error = float(np.sqrt(n @ influence**2))
    return Concordance(estimate, error, concordant, discordant, tied)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Rows by stratum, place in time and rank of their risk, each [rows], with their counts."""

    stratum: Places
    time: Places
    rank: Places
    n: npt.NDArray[np.int64]


def _compared(asking: _Places, answering: _Places) -> tuple[Floats, Floats]:
    """Counts of the pairs of one that asks and one with a later time in the same stratum.

    Returned as [3, asking] and [3, answering]: those in which the one that answers has the higher,
    the same and the lower rank. Times are taken apart bit by bit: two of them differ first in one
    bit, so in the block that shares all higher bits the earlier one has 0 there, the later one 1.
    """
    size = len(asking.time)
    stratum, time, rank, n = (
        np.concatenate([getattr(asking, f), getattr(answering, f)])
        for f in ("stratum", "time", "rank", "n")
    )
    total = len(time)
    bits = int(time.max(initial=0)).bit_length()
    order = np.lexsort((rank, stratum))
    key, rank, weight = ((stratum << bits) | time)[order], rank[order], n[order].astype(np.float64)
    asks = order < size
    found = np.zeros((3, total))
    for bit in range(bits - 1, -1, -1):
        block, later = key >> (bit + 1), (key >> bit & 1).astype(bool)
        apart = block[1:] != block[:-1]
        begin, end = _edges(apart)
        low, high = _edges(apart | (rank[1:] != rank[:-1]))
        one, two = np.flatnonzero(asks & ~later), np.flatnonzero(~asks & later)
        for mine, others, sign in ((one, two, 1), (two, one, -1)):
            sums = np.zeros(total + 1)
            sums[others + 1] = weight[others]
            sums = np.cumsum(sums)
            at = [sums[edge[mine]] for edge in (end, high, low, begin)]
            for row, above, below in zip(found[::sign], at[:-1], at[1:], strict=True):
                row[mine] += above - below
        # each block's earlier half before its later one, still in the order of ranks
        zeros = np.concatenate([[0], np.cumsum(~later)])
        into = zeros[:-1] - zeros[begin]
        place = np.where(later, np.arange(total) - into + zeros[end] - zeros[begin], begin + into)
        for array in (key, rank, weight, asks, order, *found):
            array[place] = array.copy()
    back = np.empty_like(found)
    back[:, order] = found
    return back[:, :size], back[:, size:]


def _edges(changes: npt.NDArray[np.bool_]) -> tuple[Places, Places]:
    """By element, where its run begins and ends, from the changes between neighbours."""
    run = np.concatenate([[0], np.cumsum(changes)])
    bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(run)]])
    return bounds[run], bounds[run + 1]


def _ranks(risk: Floats) -> Places:
    """Dense ranks; neighbours that differ by rounding alone share one."""
    order = np.argsort(risk, kind="stable")
    grain = 1e-12 * float(np.max(np.abs(risk), initial=0.0))
    found = np.empty(len(risk), np.intp)
    found[order] = np.concatenate([[0], np.cumsum(np.diff(risk[order]) > grain)])
    return found
