"""Units in order of arm and fold in; a learner's predictions for the fold left out, out.

A learner has two questions: the log odds of each arm against the control, and the outcomes of each
arm. Both are answered for every unit, by fits to the folds that the unit is not in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from scipy import special

from retention_lab.incentives.observed.effects import Floats, Ints

CHUNK = 32_768  # rows at a time: what they need stays in the processor's cache
STEPS = 30
FEW = 20
Name = Literal["linear", "boosting"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Units sorted by arm, then fold: arm a's of fold f are rows starts[a, f] to starts[a, f + 1].

    With one fold there is no cross-fitting: it is fitted and predicted alike.
    """

    x: Floats  # [n, p]
    y: Floats  # [n, M]
    starts: Ints  # [A, F + 1]

    @property
    def arms(self) -> int:
        return len(self.starts)

    @property
    def folds(self) -> int:
        return int(self.starts.shape[1]) - 1

    def rows(self, arm: int, fold: int) -> slice:
        return slice(int(self.starts[arm, fold]), int(self.starts[arm, fold + 1]))

    def training(self, arm: int, fold: int) -> list[slice]:
        """Rows of the arm that a fit for `fold` may see."""
        first, at, then, last = self.starts[arm, [0, fold, fold + 1, self.folds]].tolist()
        if self.folds == 1:
            return [slice(first, last)]
        return [s for s in (slice(first, at), slice(then, last)) if s.stop > s.start]


class Linear:
    """Least squares of each outcome in each arm; logistic regressions of each arm and the control.

    Fits need sums of products by arm and fold only, which all folds and outcomes share. A logistic
    fit begins at that to all folds and ends where its own training rows want it.
    Arm by arm, the logistic regressions are those of the multinomial logit, at hardly any loss.
    Source: Begg and Gray (1984), Biometrika 71, 11-18.
    """

    name: Name = "linear"

    def least(self, covariates: int, folds: int) -> int:
        """Units that an arm needs: two in training for each coefficient, and `FEW`."""
        share = (folds - 1) / folds if folds > 1 else 1.0
        wanted: int = math.ceil(2 * (covariates + 1) / share)
        return max(FEW, wanted)

    def log_odds(self, b: Blocks) -> tuple[Floats, int]:
        """log P(arm | x) / P(control | x): [A - 1, n], and the number of fits."""
        z = _standard(b.x)
        out = np.empty((b.arms - 1, len(z)))
        fits = 0
        for k in range(1, b.arms):
            pair = [(0.0, 0), (1.0, k)]
            whole = [(slice(*b.starts[a, [0, -1]].tolist()), d) for d, a in pair]
            begin = _logistic(z, whole, np.zeros(z.shape[1]))
            for fold in range(b.folds):
                rows = [(s, d) for d, a in pair for s in b.training(a, fold)]
                fitted = begin if b.folds == 1 else _logistic(z, rows, begin)
                fits += 1
                for a in range(b.arms):
                    out[k - 1, b.rows(a, fold)] = z[b.rows(a, fold)] @ fitted
        return out, fits

    def outcomes(self, b: Blocks) -> tuple[Floats, int]:
        """E(y | arm, x): [A, M, n], and the number of fits."""
        z = _standard(b.x)
        p, m = z.shape[1], b.y.shape[1]
        sums = np.zeros((b.arms, b.folds, p, p + m))
        for a in range(b.arms):
            for fold in range(b.folds):
                rows = b.rows(a, fold)
                for at in range(rows.start, rows.stop, CHUNK):
                    part = slice(at, min(at + CHUNK, rows.stop))
                    sums[a, fold, :, :p] += z[part].T @ z[part]
                    sums[a, fold, :, p:] += z[part].T @ b.y[part]
        out = np.empty((b.arms, m, len(z)))
        for fold in range(b.folds):
            others = [f for f in range(b.folds) if f != fold] or [fold]
            seen = sums[:, others].sum(axis=1)
            inverse = np.linalg.pinv(seen[:, :, :p], rcond=1e-11, hermitian=True)
            weights = inverse @ seen[:, :, p:]  # [A, p, M]
            side = np.moveaxis(weights, 1, 0).reshape(p, b.arms * m)
            for a in range(b.arms):
                rows = b.rows(a, fold)
                out[:, :, rows] = (z[rows] @ side).T.reshape(b.arms, m, -1)
        return out, b.arms * m * b.folds


@dataclasses.dataclass(frozen=True, slots=True)
class Boosting:
    """Gradient boosted trees (scikit-learn's, by histograms) of each outcome in each arm.

    Shallow trees that stop when a tenth of the rows, held out, gain no more: an overfitted chance
    of being treated gives a few units all the weight.
    """

    iterations: int = 200
    rate: float = 0.1
    leaves: int = 8
    least_leaf: int = 20
    patience: int = 10
    seed: int = 1

    name = "boosting"

    def least(self, covariates: int, folds: int) -> int:
        """Units that an arm needs."""
        return 2 * FEW

    def settings(self) -> dict[str, Any]:
        """Keywords of scikit-learn's HistGradientBoosting, the same for every fit."""
        return {
            "max_iter": self.iterations,
            "learning_rate": self.rate,
            "max_leaf_nodes": self.leaves,
            "min_samples_leaf": self.least_leaf,
            "early_stopping": True,
            "n_iter_no_change": self.patience,
            "random_state": self.seed,
        }

    def log_odds(self, b: Blocks) -> tuple[Floats, int]:
        """log P(arm | x) / P(control | x): [A - 1, n], and the number of fits."""
        from sklearn.ensemble import (  # type: ignore[import-untyped]
            HistGradientBoostingClassifier,
        )

        out = np.empty((b.arms - 1, len(b.x)))
        fits = 0
        for k in range(1, b.arms):
            for fold in range(b.folds):
                parts = [b.x[s] for a in (0, k) for s in b.training(a, fold)]
                sizes = [sum(s.stop - s.start for s in b.training(a, fold)) for a in (0, k)]
                model = HistGradientBoostingClassifier(**self.settings())
                model.fit(np.concatenate(parts), np.repeat([0, 1], sizes))
                fits += 1
                for a in range(b.arms):
                    rows = b.rows(a, fold)
                    if rows.stop > rows.start:
                        out[k - 1, rows] = model.decision_function(b.x[rows])
        return out, fits

    def outcomes(self, b: Blocks) -> tuple[Floats, int]:
        """E(y | arm, x): [A, M, n], and the number of fits."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        m = b.y.shape[1]
        out = np.empty((b.arms, m, len(b.x)))
        for fold in range(b.folds):
            ahead = [b.rows(a, fold) for a in range(b.arms)]
            new = np.concatenate([b.x[rows] for rows in ahead])
            ends = np.cumsum([rows.stop - rows.start for rows in ahead])[:-1]
            for a in range(b.arms):
                seen = b.training(a, fold)
                x = np.concatenate([b.x[s] for s in seen])
                for j in range(m):
                    y = np.concatenate([b.y[s, j] for s in seen])
                    model = HistGradientBoostingRegressor(**self.settings()).fit(x, y)
                    found = np.split(model.predict(new), ends)
                    for rows, values in zip(ahead, found, strict=True):
                        out[a, j, rows] = values
        return out, b.arms * m * b.folds


Learner = Linear | Boosting
LEARNERS: Mapping[Name, Callable[[], Learner]] = {"linear": Linear, "boosting": Boosting}


def _standard(x: Floats) -> Floats:
    """A column of ones, and the covariates with mean 0 and deviation 1: [n, p + 1]."""
    z = np.ones((len(x), x.shape[1] + 1))
    np.subtract(x, x.mean(axis=0), out=z[:, 1:])
    deviation = np.sqrt(np.square(z[:, 1:]).mean(axis=0))
    z[:, 1:] /= np.where(deviation > 0.0, deviation, 1.0)
    return z


def _logistic(z: Floats, rows: list[tuple[slice, float]], begin: Floats) -> Floats:
    """Coefficients of a logistic regression by Newton's method; slices of `z` with their 0 or 1.

    Where the rows can be told apart for certain there is no maximum: it stops far out, with
    chances of 0 and 1, which the check of overlap refuses.
    """
    at, step, before = begin, np.zeros_like(begin), -math.inf
    for _ in range(STEPS):
        value, slope, curve = _newton(z, rows, at)
        if not value >= before - 1e-9 * abs(before):
            step = step / 2.0
            at = at - step
            continue
        before = value
        step = np.linalg.pinv(curve, rcond=1e-12, hermitian=True) @ slope
        at = at + step
        if float(slope @ step) <= 1e-14 * max(-value, 1.0):
            break
    return at


def _newton(z: Floats, rows: list[tuple[slice, float]], at: Floats) -> tuple[float, Floats, Floats]:
    """Log-likelihood, its gradient, and the negative of its second derivative."""
    p = z.shape[1]
    value, slope, curve = 0.0, np.zeros(p), np.zeros((p, p))
    for part, d in rows:
        for start in range(part.start, part.stop, CHUNK):
            here = z[start : min(start + CHUNK, part.stop)]
            # of the side that happened: sign * eta, so that its chance keeps its digits
            eta = here @ at if d else -(here @ at)
            other = special.expit(-eta)
            value += float(special.log_expit(eta).sum())
            slope += (other if d else -other) @ here
            curve += (here * (other * (1.0 - other))[:, None]).T @ here
    return value, slope, curve
