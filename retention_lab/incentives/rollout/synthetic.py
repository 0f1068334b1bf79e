"""One or few treated markets and their periods in; synthetic difference-in-differences out.

Arkhangelsky, Athey, Hirshberg, Imbens, Wager (2021), American Economic Review 111: a mean of other
markets that ran like the treated ones before, over the earlier periods that say most of the later.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retention_lab.incentives.rollout.staggered import Bools, Floats

DRAWS = 200  # placebos, where not every control can be one
HEAVY = 1e4  # weight of the row that makes weights add up to 1, against the largest number
LITTLE = 1e-6  # ridge of the weights of periods, in standard deviations of a change


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Synthetic:
    """The effect; its error (None: not to be had), how that was found, and p by placebos.

    `n` treated markets against `n_controls`; `omega` (controls) and `lam` (`before`, the periods)
    are the weights of the group with the most periods. `placebos` are the effects found where
    nobody began.
    """

    estimate: float
    std_error: float | None
    df: float
    p_value: float | None
    method: str
    n: int
    n_controls: int
    before: int
    omega: Floats
    lam: Floats
    placebos: Floats


def synthetic_difference(
    y: Floats, adopted: Floats, seed: int = 1, draws: int = DRAWS
) -> Synthetic | None:
    """The mean effect after the start on treated markets, against those that never begin.

    `y` (M, T) without gaps; `adopted` (M) position of the first treated period, inf: never. Markets
    that began together are compared together, and the groups averaged by market-periods treated.
    The error is that of placebos: the same starts, given to controls (needs more controls than
    treated markets); else by leaving out one market at a time, its weights kept. p counts the
    placebos that are as large. None: fewer than two controls or two periods before.
    """
    control = np.isinf(adopted)
    starts = adopted[~control].astype(int)
    if not len(starts) or control.sum() < 2 or starts.min() < 2:
        return None
    fits = [_fit(y[control], y[adopted == g], int(g)) for g in np.unique(starts)]
    estimate = _together(fits)
    longest = max(fits, key=lambda f: f.size)
    n0 = int(control.sum())
    placebos = _placebos(y[control], np.sort(starts), seed, draws)
    error, p, df, method = None, None, 0.0, "no error: too few controls for placebos"
    if len(placebos) > 1:
        error = float(math.sqrt(np.mean(placebos**2)))
        df = float(max(1, min(len(placebos), n0) - 1))
        close = np.abs(placebos) >= abs(estimate) * (1.0 - 1e-9)
        p = float((1 + close.sum()) / (1 + len(placebos)))
        method = "placebos among the controls"
    elif len(starts) > 1:
        error = _jackknife(y, adopted, fits)
        df, method = float(len(starts) - 1), "leaving out one market at a time"
    return Synthetic(
        estimate, error or None, df, p, method, len(starts), n0, int(longest.start),
        longest.omega, longest.lam, placebos,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    estimate: float
    size: int  # market-periods treated
    start: int
    omega: Floats
    lam: Floats


def _together(fits: list[_Fit]) -> float:
    return sum(f.estimate * f.size for f in fits) / sum(f.size for f in fits)


def _fit(y0: Floats, y1: Floats, start: int) -> _Fit:
    """Weights and effect of one group, whose first treated period is `start`."""
    after = y0.shape[1] - start
    noise = float(np.std(np.diff(y0[:, :start], axis=1), ddof=1)) if start > 1 else 0.0
    ridge = math.sqrt(len(y1) * after) * noise**2
    omega = simplex(y0[:, :start].T, y1[:, :start].mean(axis=0), ridge)
    lam = simplex(y0[:, :start], y0[:, start:].mean(axis=1), (LITTLE * noise) ** 2)
    return _Fit(_effect(y0, y1, start, omega, lam), len(y1) * after, start, omega, lam)


def _effect(y0: Floats, y1: Floats, start: int, omega: Floats, lam: Floats) -> float:
    gap = y1.mean(axis=0) - omega @ y0
    return float(gap[start:].mean() - lam @ gap[:start])


def simplex(a: Floats, b: Floats, ridge: float) -> Floats:
    """argmin |a w + c - b|^2 / n + ridge |w|^2 over w >= 0 that add up to 1, and c.

    `a` is (n, k), `b` (n). By non-negative least squares, then exactly on the weights above 0.
    """
    from scipy.optimize import nnls

    n, k = a.shape
    a, b = a - a.mean(axis=0), b - b.mean()
    size = max(float(np.abs(a).max()), float(np.abs(b).max()))
    if k == 1 or size == 0.0:
        return np.full(k, 1.0 / k)
    a, b, ridge = a / size, b / size, n * ridge / size**2 + 1e-14
    rows = np.vstack([a, math.sqrt(ridge) * np.eye(k), np.full((1, k), HEAVY)])
    w, _ = nnls(rows, np.concatenate([b, np.zeros(k), [HEAVY]]), maxiter=50 * k)
    w = w / w.sum()
    kept = w > 1e-12
    m = int(kept.sum())
    system = np.ones((m + 1, m + 1))
    system[:m, :m] = a[:, kept].T @ a[:, kept] + ridge * np.eye(m)
    system[m, m] = 0.0
    exact = np.linalg.lstsq(system, np.append(a[:, kept].T @ b, 1.0), rcond=None)[0][:m]
    if (exact >= 0).all() and abs(exact.sum() - 1.0) < 1e-9:
        w[kept] = exact
    return np.asarray(w)


def _placebos(y0: Floats, starts: np.ndarray, seed: int, draws: int) -> Floats:
    """Effects where controls are given the starts of the treated markets: nobody began."""
    n0, n1 = len(y0), len(starts)
    if n0 <= n1 + 1:
        return np.zeros(0)
    if n1 == 1:
        chosen = [np.array([i]) for i in range(n0)]  # each control once
    else:
        rng = np.random.default_rng(seed)
        chosen = [rng.permutation(n0)[:n1] for _ in range(draws)]
    return np.array([_placebo(y0, c, starts) for c in chosen])


def _placebo(y0: Floats, chosen: np.ndarray, starts: np.ndarray) -> float:
    rest: Bools = np.ones(len(y0), bool)
    rest[chosen] = False
    fits = [_fit(y0[rest], y0[chosen[starts == g]], int(g)) for g in np.unique(starts)]
    return _together(fits)


def _jackknife(y: Floats, adopted: Floats, fits: list[_Fit]) -> float:
    """The error by leaving out a market, with the others' weights as they were (algorithm 3)."""
    control = np.isinf(adopted)
    position = np.cumsum(control) - 1
    found = []
    for i in range(len(y)):
        stay = np.arange(len(y)) != i
        parts = []
        for f in fits:
            mine = (adopted == f.start) & stay
            if not mine.any():
                continue
            omega = f.omega
            if control[i]:
                omega = np.delete(omega, position[i])
                if omega.sum() <= 0:
                    return 0.0
                omega = omega / omega.sum()
            effect = _effect(y[control & stay], y[mine], f.start, omega, f.lam)
            size = int(mine.sum()) * (y.shape[1] - f.start)
            parts.append(dataclasses.replace(f, estimate=effect, size=size))
        found.append(_together(parts))
    n = len(found)
    return math.sqrt((n - 1) / n * float(((np.array(found) - np.mean(found)) ** 2).sum()))
