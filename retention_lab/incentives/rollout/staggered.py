"""Markets by periods in; the effect on each group of markets in each period, with influences, out.

A group are the markets that began in one period. Callaway, Sant'Anna (2021), Journal of
Econometrics 225: each group's change since the period before it began, less that of markets which
had not begun.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from retention_lab.incentives.observed.sample import independent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Controls = Literal["not_yet", "never"]

MOST_LIKELY = 0.995  # chance of being treated from which on a control is left out (as DRDID does)
STEPS, CLOSE = 50, 1e-12
NO_CONTROL = "no_control: no market that had not begun is left to compare with"
NO_PAIR = "no_pair: no market of the group is known in both periods"
NO_OVERLAP = "no_overlap: the covariates tell the group from its controls, or are too many for them"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """K pairs of a group and a period, out of M markets.

    `group`, `period` (K) are positions of periods, the group's that of its first treated one; where
    the period lies before it, `att` is a placebo: the change since the period before. `raw` and
    `share` (K, M): the influence of a market on the effect is raw - share * att, and the mean of
    raw is att, of share 1. `n`, `n_controls` (K): markets. `missing`: group, period, why.
    """

    group: Ints
    period: Ints
    att: Floats
    raw: Floats
    share: Floats
    n: Ints
    n_controls: Ints
    missing: tuple[tuple[int, int, str], ...] = ()

    @property
    def influence(self) -> Floats:
        """(K, M); a cell's variance is the mean of squares over M."""
        return np.asarray(self.raw - self.share * self.att[:, None])

    @property
    def since(self) -> Ints:
        """(K) periods since the group began; below 0: before."""
        return np.asarray(self.period - self.group)

    @property
    def after(self) -> Bools:
        return np.asarray(self.since >= 0)


def group_time_effects(
    y: Floats,
    adopted: Floats,
    weight: Floats | None = None,
    covariates: Floats | None = None,
    controls: Controls = "not_yet",
) -> Cells:
    """Effects by group and period of `y` (M, T; NaN: not known) of M markets in T periods.

    `adopted` (M) is the position of the first treated period, inf: never; markets treated from
    position 0 on must have been left out. `weight` (M) counts a market more often. `covariates`
    (M, k) do not change with time: the comparison is doubly robust in them (Sant'Anna, Zhao 2020,
    Journal of Econometrics 219: logistic chance and linear change). `controls`: markets that never
    begin, or all that have not begun by either period.

    Of a market that is not known in both periods of a pair, that pair is left out, and no other.
    """
    markets, periods = y.shape
    w = np.ones(markets) if weight is None else weight / weight.mean()
    x = None if covariates is None else _design(covariates)
    found: list[tuple[int, int, _Pair]] = []
    missing: list[tuple[int, int, str]] = []
    for g in np.unique(adopted[np.isfinite(adopted)]).astype(int):
        for t in range(1, periods):
            base = g - 1 if t >= g else t - 1
            change = y[:, t] - y[:, base]
            known = np.isfinite(change) & (w > 0)
            treated = (adopted == g) & known
            late = np.isinf(adopted) if controls == "never" else adopted > max(t, base)
            other = late & (adopted != g) & known
            pair = _compared(change, treated, other, w, x)
            if isinstance(pair, str):
                missing.append((int(g), t, pair))
            else:
                found.append((int(g), t, pair))
    k = len(found)
    return Cells(
        group=np.array([g for g, _, _ in found], np.int64),
        period=np.array([t for _, t, _ in found], np.int64),
        att=np.array([p.att for *_, p in found], np.float64),
        raw=np.array([p.raw for *_, p in found], np.float64).reshape(k, markets),
        share=np.array([p.share for *_, p in found], np.float64).reshape(k, markets),
        n=np.array([p.n for *_, p in found], np.int64),
        n_controls=np.array([p.n_controls for *_, p in found], np.int64),
        missing=tuple(missing),
    )


def _design(covariates: Floats) -> Floats:
    """A constant and the covariates (M, k), without those that are constant or follow from others.

    With mean 0 and deviation 1, which changes no effect: a date in microseconds, far from 0, would
    look like a constant otherwise.
    """
    kept, _ = independent(covariates)
    x = covariates[:, kept] - covariates[:, kept].mean(axis=0)
    return np.column_stack([np.ones(len(x)), x / x.std(axis=0)])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    att: float
    raw: Floats
    share: Floats
    n: int
    n_controls: int


def _compared(
    change: Floats, treated: Bools, other: Bools, w: Floats, x: Floats | None
) -> _Pair | str:
    """One group's change less that of its controls, or why there is none."""
    n, n_controls = int(treated.sum()), int(other.sum())
    if not n:
        return NO_PAIR
    if not n_controls:
        return NO_CONTROL
    dy = np.where(treated | other, change, 0.0)
    size = len(change)
    share = np.where(treated, w, 0.0)
    share = share * (size / share.sum())
    if x is None:
        control = np.where(other, w, 0.0)
        control = control * (size / control.sum())
        usual = float(control @ dy) / size
        raw = (share - control) * (dy - usual)
        return _Pair(float(share @ dy) / size - usual, raw, share, n, n_controls)
    used = treated | other
    robust = _doubly_robust(dy[used], treated[used].astype(float), w[used], x[used])
    if robust is None:
        return NO_OVERLAP
    att, inside = robust
    raw = np.zeros(size)
    raw[used] = inside * (size / used.sum())
    return _Pair(att, raw, share, n, n_controls)


def _doubly_robust(dy: Floats, d: Floats, w: Floats, x: Floats) -> tuple[float, Floats] | None:
    """The effect on the treated, and the influences with the effect itself not yet taken off."""
    n, k = x.shape
    # Of the treated one is enough: the change is fitted on the controls, the chance on all.
    if n - d.sum() <= k or np.linalg.matrix_rank(x[d == 0]) < k:
        return None
    w = w / w.mean()
    chance = _logistic(x, d, w)
    if chance is None:
        return None
    odds = np.where((d == 0) & (chance < MOST_LIKELY), chance / (1.0 - chance), 0.0)
    of_treated, of_control = w * d, w * odds
    if not of_control.sum():
        return None
    # The change that controls with such covariates had.
    wx = (w * (1.0 - d))[:, None] * x
    bread = np.linalg.inv(wx.T @ x / n)
    rest = dy - x @ (bread @ (wx.T @ dy / n))
    usual = float(of_control @ rest / of_control.sum())
    att = float(of_treated @ rest / of_treated.sum()) - usual
    by_line = (wx * rest[:, None]) @ bread
    hessian = np.linalg.inv((x * (w * chance * (1.0 - chance))[:, None]).T @ x / n)
    by_chance = ((w * (d - chance))[:, None] * x) @ hessian
    m1 = (of_treated @ x) / n
    m2 = ((of_control * (rest - usual)) @ x) / n
    m3 = (of_control @ x) / n
    one = (of_treated * (rest - usual) - by_line @ m1) / of_treated.mean()
    two = (of_control * (rest - usual) + by_chance @ m2 - by_line @ m3) / of_control.mean()
    return att, np.asarray(one - two)


def _logistic(x: Floats, d: Floats, w: Floats) -> Floats | None:
    """Chances by logistic regression (Newton's steps); None where they tell the groups apart."""
    beta = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ beta, -30.0, 30.0)))
        slope = x.T @ (w * (d - p))
        bend = (x * (w * p * (1.0 - p))[:, None]).T @ x
        try:
            step = np.linalg.solve(bend, slope)
        except np.linalg.LinAlgError:
            return None
        beta = beta + step
        if np.abs(step).max() < CLOSE * (1.0 + np.abs(beta).max()):
            p = 1.0 / (1.0 + np.exp(-(x @ beta)))
            return None if p[d > 0].min() > 1.0 - 1e-6 else np.minimum(p, 1.0 - 1e-6)
    return None
