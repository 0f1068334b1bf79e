"""One way to adjusted effects in; its seconds, memory and what it found, out.

``python -m benchmarks.incentives_ways WAY FOLDER LEARNER THREADS`` prints them as JSON;
`benchmarks.incentives` runs the ways in turns. The arrays of FOLDER are read within the clock.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lives_ways import Clock, rounds_of

FOLDS = 5
Took = dict[str, Any]


def read(folder: str, *names: str) -> list[np.ndarray]:
    """Arrays of the bench's units: x [n, 10], two or three arms, fold, y [n, 3]."""
    return [np.load(Path(folder) / f"{name}.npy") for name in names]


def ours(folder: str, learner: str, threads: str, arms: int = 2, outcomes: int = 1) -> Took:
    """The lab's AIPW: from columns to effects with errors, of all arms and outcomes."""
    import sklearn.ensemble
    import threadpoolctl
    from scipy import special

    from retention_lab.incentives.observed.aipw import average_effect
    from retention_lab.incentives.observed.crossfit import cross_fit
    from retention_lab.incentives.observed.effects import effect
    from retention_lab.incentives.observed.nuisance import LEARNERS
    from retention_lab.incentives.observed.sample import make_sample

    del sklearn, threadpoolctl, special

    def work(clock: Clock) -> Sequence[float]:
        x, arm, y = read(folder, "x", f"arms{arms}", "y")
        names = ("none", "coupon", "points")[:arms]
        sample = make_sample(
            np.array(names, object)[arm],
            names,
            {f"x{j}": x[:, j] for j in range(x.shape[1])},
            {f"y{j}": y[:, j] for j in range(outcomes)},
        )
        del x, arm, y
        fitted = cross_fit(sample, LEARNERS[learner](), FOLDS, most_threads=int(threads))
        found = [
            effect(average_effect(c, k)) for c in fitted.crossed.values() for k in range(1, arms)
        ]
        clock.lap("effects")
        return [float(v) for e in found for v in (e.estimate or 0.0, e.std_error or 0.0)]

    return rounds_of(work, 1)


def together(folder: str, learner: str, threads: str) -> Took:
    """Three outcomes and two arms against the control."""
    said = ours(folder, learner, threads, arms=3, outcomes=3)
    return {"took": said["took"], "effects": said["found"], "found": []}


def raw(folder: str, learner: str, threads: str) -> Took:
    """The bare fits and predictions that AIPW needs, by scikit-learn, fold by fold."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from threadpoolctl import threadpool_limits

    from retention_lab.incentives.observed.nuisance import Boosting

    def models() -> tuple[Any, Any]:
        if learner == "linear":
            return LogisticRegression(C=1e12, tol=1e-6), LinearRegression()
        settings = Boosting().settings()
        classifier = HistGradientBoostingClassifier(**settings)
        return classifier, HistGradientBoostingRegressor(**settings)

    def work(clock: Clock) -> Sequence[float]:
        x, arm, fold, y = read(folder, "x", "arms2", "fold", "y")
        with threadpool_limits(int(threads)):
            p, mu = np.empty(len(x)), np.empty((2, len(x)))
            for f in range(FOLDS):
                out, seen = fold == f, fold != f
                chance, _ = models()
                p[out] = chance.fit(x[seen], arm[seen]).predict_proba(x[out])[:, 1]
                for a in (0, 1):
                    rows = seen & (arm == a)
                    mu[a, out] = models()[1].fit(x[rows], y[rows, 0]).predict(x[out])
        clock.lap("fits")
        psi = mu[1] - mu[0] + np.where(arm, (y[:, 0] - mu[1]) / p, -(y[:, 0] - mu[0]) / (1 - p))
        return [float(psi.mean()), float(psi.std() / np.sqrt(len(psi)))]

    return rounds_of(work, 1)


WAYS: dict[str, Callable[..., Took]] = {w.__name__: w for w in (ours, together, raw)}


if __name__ == "__main__":
    asked, *given = sys.argv[1:]
    print(json.dumps(WAYS[asked](*given)))
