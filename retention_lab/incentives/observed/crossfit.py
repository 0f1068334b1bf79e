"""A sample, a learner and folds in; cross-fitted chances and outcomes of every unit out.

Folds are fixed by the seed and shared by all arms and outcomes; chances are fitted once for all
outcomes, the control's outcome once for all arms.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from retention_lab.errors import counted
from retention_lab.incentives.observed.effects import NOT_FINITE, Floats, Ints
from retention_lab.incentives.observed.nuisance import Blocks, Learner
from retention_lab.incentives.observed.sample import Sample
from retention_lab.incentives.observed.threads import threads

ONE_FOLD = (
    "too_few_units: all units of the arm are of one cluster, so that none is left to learn from "
    "while it is held out"
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """One outcome's units with what was predicted for them by fits that did not see them.

    ========= ==================================================================
    outcome   its name
    rows      [m] positions in the sample: units whose outcome is known
    size      units of the sample
    arms      arms that are large enough, the control first
    arm       [m] positions in `arms`
    y         [m], in units of `scale` from `centre`
    chance    [m, A] P(arm | x)
    expected  [A, m] E(y | arm, x), as `y`
    few       by arm that is too small: why
    doubt     why there is nothing at all
    missing   units whose outcome is unknown
    ========= ==================================================================
    """

    outcome: str
    rows: Ints
    size: int
    arms: tuple[str, ...]
    arm: Ints
    y: Floats
    centre: float
    scale: float
    chance: Floats
    expected: Floats
    few: Mapping[str, str]
    doubt: str | None
    missing: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Every outcome's `Crossed`; how many fits it took, in how many folds and threads."""

    crossed: Mapping[str, Crossed]
    fold: Ints
    fits: int
    folds: int
    threads: int
    learner: str


def make_folds(arm: Ints, folds: int, seed: int, cluster: Ints | None = None) -> Ints:
    """A fold for each unit [n]: equal shares of every arm, and whole clusters, in each.

    Units are dealt in turn, in an order drawn with `seed`, arm by arm; clusters by the arm of most
    of their units. The same seed and the same order of rows give the same folds.
    Raises ValueError unless 1 <= folds.
    """
    if folds < 1:
        raise ValueError(f"folds must be at least 1, not {folds}")
    if cluster is None:
        return _dealt(arm, folds, seed)
    names, place = np.unique(cluster, return_inverse=True)
    counts = np.zeros((len(names), int(arm.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (place, arm), 1)
    return _dealt(counts.argmax(axis=1), folds, seed)[place]


def _dealt(arm: Ints, folds: int, seed: int) -> Ints:
    rng = np.random.default_rng([seed, folds])
    fold = np.empty(len(arm), np.int64)
    begin = 0
    for level in np.unique(arm):
        mine = np.flatnonzero(arm == level)
        # each arm begins where the last one stopped, so that no fold gets every remainder
        fold[rng.permutation(mine)] = (begin + np.arange(len(mine))) % folds
        begin += len(mine)
    return fold


def cross_fit(
    sample: Sample,
    learner: Learner,
    folds: int = 5,
    seed: int = 1,
    outcomes: Sequence[str] | None = None,
    fold: Ints | None = None,
    most_threads: int | None = None,
) -> Fitted:
    """Fit chances and outcomes on all folds but one, and predict for that one, fold by fold.

    Outcomes that are known of the same units share one fit of the chances; known chances need none.
    Units whose outcome is unknown are left out of that outcome. `folds` = 1: fitted and predicted
    on the same units. `fold` [n] gives the folds themselves.
    Source: Chernozhukov et al. (2018), The Econometrics Journal 21, C1-C68.
    """
    names = list(sample.y) if outcomes is None else list(outcomes)
    if fold is None:
        fold = make_folds(sample.arm, folds, seed, sample.cluster)
    patterns: dict[bytes, list[str]] = {}
    found: dict[str, Crossed] = {}
    for name in names:
        if np.isinf(sample.y[name]).any():
            found[name] = _nothing(sample, name, NOT_FINITE)
        else:
            known = ~np.isnan(sample.y[name])
            patterns.setdefault(np.packbits(known).tobytes(), []).append(name)
    fits = 0
    with threads(most_threads) as used:
        for together in patterns.values():
            more, count = _together(sample, learner, fold, folds, together, used)
            found |= more
            fits += count
    return Fitted({k: found[k] for k in names}, fold, fits, folds, used, learner.name)


def _together(
    sample: Sample, learner: Learner, fold: Ints, folds: int, names: list[str], cores: int
) -> tuple[dict[str, Crossed], int]:
    """Outcomes that are known of the same units."""
    known = ~np.isnan(sample.y[names[0]])
    sizes = np.bincount(sample.arm[known], minlength=len(sample.arms))
    least = learner.least(sample.x.shape[1], folds)
    few = {
        name: f"too_few_units: {counted(int(n), 'unit')}, and {least} are needed"
        for name, n in zip(sample.arms, sizes, strict=True)
        if n < least
    }
    for i, name in enumerate(sample.arms):
        held = fold[known & (sample.arm == i)]
        if folds > 1 and name not in few and np.ptp(held) == 0:
            few[name] = ONE_FOLD
    large = [i for i, name in enumerate(sample.arms) if name not in few]
    if 0 not in large or len(large) < 2:
        why = few.get(sample.arms[0]) or next(iter(few.values()), "")
        return {k: _nothing(sample, k, why, few) for k in names}, 0
    rows = np.flatnonzero(known & np.isin(sample.arm, large))
    code = np.full(len(sample.arms), -1, np.int64)
    code[large] = np.arange(len(large))
    arm = code[sample.arm[rows]]
    order = np.lexsort((fold[rows], arm))
    rows, arm = rows[order], arm[order]
    edges = arm * folds + fold[rows]
    flat = np.searchsorted(edges, np.arange(len(large) * folds + 1))
    starts = np.stack([flat[a * folds : (a + 1) * folds + 1] for a in range(len(large))])
    scaled, centres, scales = _scaled(np.stack([sample.y[k][rows] for k in names], axis=1))
    blocks = Blocks(sample.x[rows], scaled, starts)
    found = learner.predict(blocks, chances=sample.known is None, cores=cores)
    if sample.known is not None:
        chance = sample.known[rows][:, large]
        chance = chance / chance.sum(axis=1, keepdims=True)
    else:
        assert found.odds is not None
        chance = _chances(found.odds)
    arms = tuple(sample.arms[i] for i in large)
    missing = sample.size - int(known.sum())
    return {
        k: Crossed(
            k,
            rows,
            sample.size,
            arms,
            arm,
            scaled[:, j],
            centres[j],
            scales[j],
            chance,
            found.expected[:, j],
            few,
            None,
            missing,
        )
        for j, k in enumerate(names)
    }, found.fits


def _nothing(sample: Sample, name: str, why: str, few: Mapping[str, str] | None = None) -> Crossed:
    none, a = np.zeros(0, np.int64), len(sample.arms)
    arrays = (np.zeros((0, a)), np.zeros((a, 0)))
    missing = int(np.isnan(sample.y[name]).sum())
    where = (none, np.zeros(0), 0.0, 1.0)
    return Crossed(name, none, sample.size, sample.arms, *where, *arrays, few or {}, why, missing)


def _scaled(y: Floats) -> tuple[Floats, list[float], list[float]]:
    """Columns less their mean, over their deviation: large or tiny values keep their digits."""
    out, centres, scales = np.empty_like(y), [], []
    for j in range(y.shape[1]):
        column = y[:, j]
        top = float(np.abs(column).max(initial=0.0))
        constant = len(column) == 0 or float(np.ptp(column / (top or 1.0))) == 0.0
        centre = float(column[0]) if constant and len(column) else float(column.mean())
        if not math.isfinite(centre):
            centre = float((column / top).mean()) * top
        apart = column - centre
        size = float(np.abs(apart).max(initial=0.0))
        scale = size * math.sqrt(float(np.square(apart / size).mean())) if size > 0.0 else 1.0
        out[:, j] = apart / scale
        centres.append(centre)
        scales.append(scale)
    return out, centres, scales


def _chances(odds: Floats) -> Floats:
    """P(arm | x) [n, A] of log odds against the control [A - 1, n]."""
    logs = np.concatenate([np.zeros((1, odds.shape[1])), odds])
    logs -= logs.max(axis=0)
    chance = np.exp(logs)
    return np.ascontiguousarray((chance / chance.sum(axis=0)).T)
