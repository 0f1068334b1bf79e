"""Sums over customers of repeated events, by group, in; their means compared out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import special

from retention_lab.data.repeats import Repeats
from retention_lab.data.sums import Floats
from retention_lab.survival.recurrent import (
    NO_EVENTS,
    NO_VARIANCE,
    TOO_FEW,
    Process,
    Value,
    mean_cumulative,
    normal,
    process,
    unknown,
)

Weight = Literal["log-rank", "level", "area"]
DRAWS = 20_000
ONE_GROUP = "one_group: there is nothing to compare with"


@dataclasses.dataclass(frozen=True, slots=True)
class Test:
    """A test of groups' mean cumulative functions; `scores` by group, in their order."""

    statistic: float | None = None
    df: int | None = None
    p_value: float | None = None
    scores: tuple[float, ...] = ()
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A difference over the course of time, with bounds that hold it everywhere at once."""

    time: Floats
    estimate: Floats
    low: Floats
    high: Floats
    critical: float | None = None
    p_value: float | None = None
    note: str | None = None


def differences(
    arm: Repeats | Process, base: Repeats | Process, days: Sequence[float], alpha: float = 0.05
) -> list[Value]:
    """M of `arm` less M of `base` on chosen days; the groups share no customer."""
    return [_compared(a, b, alpha, False) for a, b in _both(arm, base, days, alpha)]


def ratios(
    arm: Repeats | Process, base: Repeats | Process, days: Sequence[float], alpha: float = 0.05
) -> list[Value]:
    """M of `arm` over M of `base` on chosen days, with intervals on the scale of the logarithm."""
    return [_compared(a, b, alpha, True) for a, b in _both(arm, base, days, alpha)]


def band(
    arm: Repeats | Process,
    base: Repeats | Process,
    begin: float,
    end: float,
    alpha: float = 0.05,
    seed: int = 0,
) -> Band:
    """The difference from `begin` to `end`, in bounds that hold all of it with 1 - `alpha`.

    Bounds are the difference +- c se(t) with c the quantile of max |Z(t)| of a normal process with
    the estimated correlations (20,000 draws from a fixed seed); `p_value` is of no difference at
    all over that time. Days before both groups' first events are left out. Method: Lin, Wei, Yang
    and Ying (2000), JRSS B 62(4), 711-730, section 2.3, with normal draws in place of multipliers.
    """
    a, b = (p if isinstance(p, Process) else process(p) for p in (arm, base))
    none = np.zeros(0)
    note = next((n for p in (a, b) if (n := unknown(p, end))), None)
    if note is None and min(a.customers, b.customers) < 2:
        note = TOO_FEW
    if note is not None:
        return Band(none, none, none, none, note=note)
    time = np.union1d(a.time, b.time)
    a, b = a.on(time), b.on(time)
    spread = np.cumsum(np.cumsum(a.spread + b.spread, axis=0), axis=1)
    error = np.sqrt(np.maximum(np.diag(spread), 0.0))
    seen = (np.cumsum(a.events != 0) > 0) & (np.cumsum(b.events != 0) > 0)
    used = (time >= begin) & (time <= end) & (error > 0.0) & seen
    if not used.any():
        return Band(none, none, none, none, note=NO_EVENTS)
    estimate = (np.cumsum(a.increments) - np.cumsum(b.increments))[used]
    time, error = time[used], error[used]
    correlation = spread[np.ix_(used, used)] / error[:, None] / error
    values, vectors = np.linalg.eigh(correlation)
    kept = values > 1e-9 * values.max()
    root = (vectors[:, kept] * np.sqrt(values[kept])).astype(np.float32)
    draws = np.random.default_rng(seed).standard_normal((int(kept.sum()), DRAWS), np.float32)
    largest = np.abs(root @ draws).max(axis=0)
    c = max(float(np.quantile(largest, 1.0 - alpha)), normal(alpha))
    found = float(np.max(np.abs(estimate) / error))
    p_value = (1.0 + float(np.sum(largest >= found))) / (DRAWS + 1.0)
    return Band(time, estimate, estimate - c * error, estimate + c * error, c, p_value)


def equal_means(
    groups: Mapping[Any, Repeats | Process] | Sequence[Repeats | Process],
    tau: float,
    weight: Weight = "log-rank",
) -> Test:
    """Robust test that K groups have the same mean cumulative function up to `tau`.

    U_g = sum over s <= tau of a(s) (dN_g - Y_g dN / Y) for "log-rank", where dN and Y are of all
    groups: most powerful where rates are proportional. "level" compares M(tau), and "area" the area
    under M up to tau, each group with the first. U' V^-1 U is chi-squared with K - 1 degrees of
    freedom; V adds up squares of what each customer contributes, so that events of one customer may
    depend on each other in any way. Source: Lawless and Nadeau (1995), section 3; Cook, Lawless and
    Nadeau (1996), "Robust tests for treatment comparisons based on recurrent event responses",
    Biometrics 52(2), 557-571.
    """
    given = groups.values() if isinstance(groups, Mapping) else groups
    parts = [g if isinstance(g, Process) else process(g) for g in given]
    parts = [p for p in parts if p.customers]
    if len(parts) < 2:
        return Test(note=ONE_GROUP)
    note = next((n for p in parts if (n := unknown(p, tau))), None)
    if note is not None or min(p.customers for p in parts) < 2:
        return Test(note=note or TOO_FEW)
    time = np.unique(np.concatenate([p.time for p in parts]))
    time = time[time <= tau]
    grown = [_until(p, tau).on(time) for p in parts]
    coefficients = _coefficients(parts, time, tau, weight)
    scores = np.array(
        [
            sum(row @ p.increments for row, p in zip(rows, grown, strict=True))
            for rows in coefficients
        ]
    )
    variance = np.zeros((len(parts), len(parts)))
    for i, p in enumerate(grown):
        variance += coefficients[:, i] @ p.spread @ coefficients[:, i].T
    kept = slice(1, None)
    scale = np.sqrt(np.maximum(np.diag(variance), 0.0))
    if not np.all(scale[kept] > 0.0):
        return Test(note=NO_EVENTS if not len(time) else NO_VARIANCE, scores=tuple(scores))
    z = scores[kept] / scale[kept]
    correlation = variance[kept, kept] / scale[kept][:, None] / scale[kept]
    statistic = float(z @ np.linalg.pinv(correlation, hermitian=True) @ z)
    df = int(np.linalg.matrix_rank(correlation, hermitian=True))
    return Test(statistic, df, float(special.chdtrc(df, statistic)), tuple(map(float, scores)))


def _coefficients(parts: Sequence[Process], time: Floats, tau: float, weight: Weight) -> Floats:
    """What each group's increments count in each score: [score, group, time]."""
    count = len(parts)
    out = np.zeros((count, count, len(time)))
    if weight != "log-rank":
        step = np.ones(len(time)) if weight == "level" else tau - time
        for g in range(1, count):
            out[g, g], out[g, 0] = step, -step
        return out
    at_risk = np.array([p.at_risk_at(time) for p in parts])
    whole = at_risk.sum(axis=0)
    for g in range(count):
        for h in range(count):
            out[g, h] = ((g == h) - at_risk[g] / whole) * at_risk[h]
    return out


def _both(
    arm: Repeats | Process, base: Repeats | Process, days: Sequence[float], alpha: float
) -> list[tuple[Value, Value]]:
    one, two = (mean_cumulative(g, alpha).at(days) for g in (arm, base))
    return list(zip(one, two, strict=True))


def _compared(a: Value, b: Value, alpha: float, relative: bool) -> Value:
    if a.estimate is None or b.estimate is None:
        return Value(a.day, note=a.note or b.note)
    z = normal(alpha)
    if relative:
        if a.estimate <= 0.0 or b.estimate <= 0.0:
            return Value(a.day, note=NO_EVENTS)
        estimate = a.estimate / b.estimate
        error = math.hypot((a.std_error or 0.0) / a.estimate, (b.std_error or 0.0) / b.estimate)
        middle = math.log(estimate)
    else:
        estimate = middle = a.estimate - b.estimate
        error = math.hypot(a.std_error or 0.0, b.std_error or 0.0)
    notes = {a.note, b.note}
    if error == 0.0 or TOO_FEW in notes:
        return Value(a.day, estimate, note=TOO_FEW if TOO_FEW in notes else a.note or b.note)
    low, high = middle - z * error, middle + z * error
    p_value = 2.0 * float(special.ndtr(-abs(middle) / error))
    if relative:
        low, high, error = math.exp(low), math.exp(high), estimate * error
    return Value(a.day, estimate, error, low, high, p_value)


def _until(p: Process, tau: float) -> Process:
    used = p.time <= tau
    parts = {k: getattr(p, k)[used] for k in ("time", "at_risk", "events")}
    return dataclasses.replace(p, spread=p.spread[np.ix_(used, used)], **parts)
