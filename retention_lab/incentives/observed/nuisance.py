"""Units in order of arm and fold in; a learner's predictions for the fold left out, out.

A learner is asked for the outcomes of each arm and the log odds of each arm against the control.
Both are answered for every unit, by fits to the folds that the unit is not in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy import special

from retention_lab.incentives.observed.effects import Floats, Ints
from retention_lab.incentives.observed.threads import Job, at_once

CHUNK = 32_768  # rows at a time: what they need stays in the processor's cache
STEPS = 30
FEW = 20
Name = Literal["linear", "boosting"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a learner says of every unit, and of how many fits."""

    expected: Floats  # [A, M, n] E(y | arm, x)
    odds: Floats | None  # [A - 1, n] log P(arm | x) / P(control | x); None: not asked for
    fits: int


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

    def ahead(
        self, fold: int, predict: Callable[[Floats], Floats]
    ) -> Iterator[tuple[slice, Floats]]:
        """The rows of the fold that was left out, arm by arm, with what is predicted for them."""
        rows = [self.rows(a, fold) for a in range(self.arms)]
        ends = np.cumsum([r.stop - r.start for r in rows])
        found = predict(np.concatenate([self.x[r] for r in rows])) if ends[-1] else np.empty(0)
        yield from zip(rows, np.split(found, ends[:-1]), strict=True)


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

    def predict(self, b: Blocks, *, chances: bool, cores: int = 1) -> Predicted:
        """Fit and predict; the log odds only if `chances`. BLAS keeps `cores` busy by itself."""
        z = _standard(b.x)
        fits = b.arms * b.y.shape[1] * b.folds
        if not chances:
            return Predicted(self._outcomes(b, z), None, fits)
        return Predicted(self._outcomes(b, z), self._log_odds(b, z), fits + (b.arms - 1) * b.folds)

    def _log_odds(self, b: Blocks, z: Floats) -> Floats:
        out = np.empty((b.arms - 1, len(z)))
        for k in range(1, b.arms):
            pair = [(0.0, 0), (1.0, k)]
            whole = [(slice(*b.starts[a, [0, -1]].tolist()), d) for d, a in pair]
            begin = _logistic(z, whole, np.zeros(z.shape[1]))
            for fold in range(b.folds):
                rows = [(s, d) for d, a in pair for s in b.training(a, fold)]
                fitted = begin if b.folds == 1 else _logistic(z, rows, begin)
                for a in range(b.arms):
                    out[k - 1, b.rows(a, fold)] = z[b.rows(a, fold)] @ fitted
        return out

    def _outcomes(self, b: Blocks, z: Floats) -> Floats:
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
        return out


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

    def predict(self, b: Blocks, *, chances: bool, cores: int = 1) -> Predicted:
        """Fit and predict, several fits at a time on `cores`; the log odds only if `chances`."""
        import sklearn.ensemble  # type: ignore[import-untyped]  # its OpenMP must be there before its threads are limited

        del sklearn
        odds = np.empty((b.arms - 1, len(b.x))) if chances else None
        found = Predicted(np.empty((b.arms, b.y.shape[1], len(b.x))), odds, 0)
        jobs: list[Job] = []
        for fold in range(b.folds):
            for k in range(1, b.arms) if chances else ():
                size = sum(s.stop - s.start for a in (0, k) for s in b.training(a, fold))
                jobs.append((size, partial(self._fit_odds, b, found, k, fold)))
            for a in range(b.arms):
                size = sum(s.stop - s.start for s in b.training(a, fold))
                several = range(b.y.shape[1])
                jobs += [(size, partial(self._fit_outcome, b, found, a, fold, j)) for j in several]
        at_once(jobs, cores)
        return dataclasses.replace(found, fits=len(jobs))

    def _fit_odds(self, b: Blocks, found: Predicted, k: int, fold: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        assert found.odds is not None
        parts = [b.x[s] for a in (0, k) for s in b.training(a, fold)]
        sizes = [sum(s.stop - s.start for s in b.training(a, fold)) for a in (0, k)]
        model = HistGradientBoostingClassifier(**self.settings())
        model.fit(np.concatenate(parts), np.repeat([0, 1], sizes))
        for rows, values in b.ahead(fold, model.decision_function):
            found.odds[k - 1, rows] = values

    def _fit_outcome(self, b: Blocks, found: Predicted, a: int, fold: int, j: int) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        seen = b.training(a, fold)
        model = HistGradientBoostingRegressor(**self.settings())
        model.fit(np.concatenate([b.x[s] for s in seen]), np.concatenate([b.y[s, j] for s in seen]))
        for rows, values in b.ahead(fold, model.predict):
            found.expected[a, j, rows] = values


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
