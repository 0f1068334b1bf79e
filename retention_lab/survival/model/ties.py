"""Risk sums and tied deaths at event times in; the sums over the deaths that ties ask for out."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import bernoulli, binom

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Ties = Literal["efron", "breslow"]
CHUNK = 1 << 13  # a turn stays in the cache, and below what BLAS would start threads for
MANY = 256  # deaths at one time from which on it is worth a turn of its own
SMALL = 1 / 8  # share of the dying in the risk set, up to which the sums are series in it
TERMS = 24  # of these series: SMALL^TERMS is below a rounding
LOGS = 8  # ratios multiplied before their logarithm is taken; each is at least 1 / deaths


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DeathSums:
    """Sums over the D deaths k = 0 .. D - 1 at each of G event times; every array has shape (G,).

    With f = k / D and r = phi / S0 = 1 - f T0 / S0 (Breslow: f = 0 for all):

    log: sum log r;  first[m]: sum f^m / r, m = 0, 1;  second[m]: sum f^m / r^2, m = 0, 1, 2;
    third[m]: sum f^m / r^3, m = 0 .. 3, where they are asked for. Being relative to S0 they do
    not overflow where hazards differ by many powers of ten.
    """

    log: Floats
    first: Floats
    second: Floats
    third: Floats | None = None


def death_sums(share: Floats, deaths: Counts, ties: Ties, cubes: bool = False) -> DeathSums:
    """Efron's and Breslow's sums from `share`, T0 / S0, and the number of deaths.

    All have shape (G,). Efron's are added up death by death, or, of many deaths with a small share,
    as a series in the share with positive terms; the closed form by digamma functions loses all
    digits there. A row of weight n counts as n deaths, which is what
    replication means; an average over tied rows is not.
    Sources: Efron (1977), JASA 72(359), 557-565; Breslow (1974), Biometrics 30(1), 89-99.
    """
    log = np.zeros(len(share))
    sums = np.zeros((9 if cubes else 5, len(share)))
    sums[[0, 2, 5] if cubes else [0, 2]] = deaths
    if ties == "efron":
        tied = np.flatnonzero((deaths > 1) & (share > 0))
        many = tied[deaths[tied] >= MANY]
        small = share[many] <= SMALL
        _series(many[small], share, deaths, log, sums)
        for i in many[~small]:
            _one(i, share[i], int(deaths[i]), log, sums)
        few = tied[deaths[tied] < MANY]
        ends = np.cumsum(deaths[few])
        begin = 0
        while begin < len(few):
            before = int(ends[begin - 1]) if begin else 0
            end = max(int(np.searchsorted(ends, before + CHUNK, side="right")), begin + 1)
            _several(few[begin:end], share, deaths, log, sums)
            begin = end
    return DeathSums(log, sums[:2], sums[2:5], sums[5:] if cubes else None)


def _series(
    at: npt.NDArray[np.intp], share: Floats, deaths: Counts, log: Floats, sums: Floats
) -> None:
    """Event times with many deaths that are a small part of those at risk, whatever their number.

    With q = T0 / S0 and F(m) the sum of f^m over the deaths

        sum f^m / (1 - q f)^p = sum over j of binomial(j + p - 1, j) q^j F(j + m):

    every term is positive, so that no digit is lost.
    """
    j = np.arange(TERMS)[:, None]
    ratio = share[at] ** j
    f = _power_sums(deaths[at].astype(np.float64), TERMS + 3)
    log[at] = -(ratio[1:] / j[1:] * f[1:TERMS]).sum(axis=0)
    row = 0
    factors = np.ones_like(j), j + 1, (j + 1) * (j + 2) // 2
    for p, factor in enumerate(factors, 1):
        for m in range(p + 1 if row < len(sums) else 0):
            sums[row, at] = (factor * ratio * f[m : m + TERMS]).sum(axis=0)
            row += 1


def _power_sums(d: Floats, most: int) -> Floats:
    """Sums of (k / d)^m over k = 0 .. d - 1 for m = 0 .. `most`, [most + 1, D]; d is large.

    Bernoulli's formula: d / (m + 1) - 1/2 + sum B(2i) / (2i)! m! / (m - 2i + 1)! d^(1 - 2i).
    """
    found = np.empty((most + 1, len(d)))
    found[0] = d
    number = bernoulli(most)
    for m in range(1, most + 1):
        found[m] = d / (m + 1) - 0.5
        for i in range(2, m + 1, 2):
            found[m] += number[i] * binom(m + 1, i) / (m + 1) * d ** (1 - i)
    return found


def _one(i: int, share: float, d: int, log: Floats, sums: Floats) -> None:
    """One event time with many deaths, some thousand deaths a turn."""
    sums[:, i] = 0.0
    for begin in range(0, d, CHUNK):
        k = np.arange(begin, min(begin + CHUNK, d))
        f = k / d
        r = (1.0 - share) + (d - k) / d * share
        inverse = 1.0 / r
        square = inverse * inverse
        sums[0, i] += inverse.sum()
        sums[1, i] += f @ inverse
        sums[2, i] += square.sum()
        f_square = f * square
        sums[3, i] += f_square.sum()
        sums[4, i] += f @ f_square
        if len(sums) > 5:
            cube = square * inverse
            for m in range(4):
                sums[5 + m, i] += (f**m) @ cube
        whole = len(r) // LOGS * LOGS
        log[i] += np.log(r[:whole].reshape(LOGS, -1).prod(axis=0)).sum()
        log[i] += np.log(r[whole:]).sum()


def _several(
    at: npt.NDArray[np.intp], share: Floats, deaths: Counts, log: Floats, sums: Floats
) -> None:
    """Event times with a few deaths each, all in one turn."""
    d = deaths[at]
    begin = np.cumsum(d) - d
    of = np.repeat(d, d)
    k = np.arange(int(d.sum())) - np.repeat(begin, d)
    f = k / of
    r = np.repeat(1.0 - share[at], d) + (of - k) / of * np.repeat(share[at], d)
    inverse = 1.0 / r
    square = inverse * inverse
    terms = [inverse, f * inverse, square, f * square, f * f * square]
    if len(sums) > 5:
        terms += [f**m * square * inverse for m in range(4)]
    log[at] = np.add.reduceat(np.log(r), begin)
    for row, term in zip(sums, terms, strict=True):
        row[at] = np.add.reduceat(term, begin)
