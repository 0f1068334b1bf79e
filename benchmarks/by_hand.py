"""Counts by pattern, day and event in; a Cox model as one would write it once, by hand, out.

Nothing is checked: no redundant column, no late entry, no strata, no likelihood that rises for
ever. One pass an iteration makes the risk sums S0, S1, S2 and those of the deaths by day; Efron's
ties are five sums over the deaths of each day.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CHUNK = 1 << 13  # deaths at a time: they stay in the processor's cache
CLOSE = 1e-9


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The coefficients, [K], and risk sums, those of the dying, and deaths by day, [G]."""

    coef: Floats
    s0: Floats
    t0: Floats
    deaths: npt.NDArray[np.int64]
    iterations: int


def fit(cells: Mapping[str, Any], first: Mapping[str, str]) -> Fit:
    """Newton's method from 0 on the rows of `cells`; `first` names each column's reference."""
    order = np.argsort(cells["day"], kind="stable")
    day, event, n = (np.asarray(cells[c])[order] for c in ("day", "event", "n"))
    columns = [
        np.asarray(cells[c][order] == level, np.float64)
        for c in first
        for level in sorted(set(cells[c].tolist()))
        if level != first[c]
    ]
    x = np.column_stack(columns)
    x -= n @ x / n.sum()
    died = event == 1
    days, begin = np.unique(day, return_index=True)
    ends = np.append(begin[1:], len(day))
    deaths = np.add.reduceat(np.where(died, n, 0), begin).astype(np.int64)
    seen = deaths > 0
    died_x = n[died] @ x[died]
    k = x.shape[1]
    beta = np.zeros(k)
    iterations = 0
    while True:
        w = n * np.exp(x @ beta)
        s0, t0 = np.add.reduceat(w, begin), np.add.reduceat(w * died, begin)
        s1, t1 = np.empty((len(days), k)), np.empty((len(days), k))
        s2, t2 = np.empty((len(days), k, k)), np.empty((len(days), k, k))
        for g, (low, high) in enumerate(zip(begin, ends, strict=True)):
            here = x[low:high]
            weighted = here * w[low:high, None]
            dying = died[low:high]
            s1[g], t1[g] = weighted.sum(axis=0), weighted[dying].sum(axis=0)
            s2[g], t2[g] = weighted.T @ here, weighted[dying].T @ here[dying]
        s0, s1, s2 = (np.cumsum(s[::-1], axis=0)[::-1][seen] for s in (s0, s1, s2))
        t0, t1, t2 = t0[seen], t1[seen], t2[seen]
        a0, a1, b0, b1, b2 = five_sums(s0, t0, deaths[seen])
        score = died_x - (a0 @ s1 - a1 @ t1)
        cross = np.einsum("g,gi,gj->ij", b1, s1, t1)
        information = np.einsum("g,gij->ij", a0, s2) - np.einsum("g,gij->ij", a1, t2)
        information -= np.einsum("g,gi,gj->ij", b0, s1, s1) - cross - cross.T
        information -= np.einsum("g,gi,gj->ij", b2, t1, t1)
        step = np.linalg.solve(information, score)
        if np.sqrt(score @ step) < CLOSE:
            break
        beta, iterations = beta + step, iterations + 1
    return Fit(beta, s0, t0, deaths[seen], iterations)


def five_sums(s0: Floats, t0: Floats, deaths: npt.NDArray[np.int64]) -> Floats:
    """By day the sums over its D deaths of 1/phi, f/phi, 1/phi^2, f/phi^2 and f^2/phi^2, [5, G].

    f is k / D for k = 0 .. D - 1, and phi = S0 - f T0.
    """
    out = np.zeros((5, len(s0)))
    for g, d in enumerate(deaths.tolist()):
        for begin in range(0, d, CHUNK):
            f = np.arange(begin, min(begin + CHUNK, d)) / d
            inverse = 1.0 / (s0[g] - f * t0[g])
            share = f * inverse
            out[:, g] += (
                inverse.sum(), share.sum(), inverse @ inverse, share @ inverse, share @ share,
            )  # fmt: skip
    return out
