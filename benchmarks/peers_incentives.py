"""Arrays of units in; seconds and memory of a peer's average effect out (JSON).

``python peers_incentives.py PEER FOLDER LEARNER THREADS SETTINGS`` runs in the peers' own
environment (see incentives.py); it must not import anything of the lab. SETTINGS are the learner's
keywords as JSON, the same as the lab's.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from peers_process import cpu, resident


def models(learner, settings):
    """A classifier and a regressor."""
    if learner == "linear":
        from sklearn.linear_model import LinearRegression, LogisticRegression

        return LogisticRegression(C=1e12, tol=1e-6), LinearRegression()
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return HistGradientBoostingClassifier(**settings), HistGradientBoostingRegressor(**settings)


def doubleml(x, arm, y, splits, classifier, regressor):
    import doubleml as dml

    data = dml.DoubleMLData.from_arrays(x, y, arm.astype(float))
    model = dml.DoubleMLIRM(
        data, regressor, classifier, n_folds=len(splits), draw_sample_splitting=False
    )
    model.set_sample_splitting(splits)
    model.fit()
    return [float(model.coef[0]), float(model.se[0])]


def econml(x, arm, y, splits, classifier, regressor):
    from econml.dr import LinearDRLearner

    model = LinearDRLearner(
        model_propensity=classifier, model_regression=regressor, cv=splits, random_state=1
    )
    model.fit(y, arm, X=None, W=x)
    found = model.intercept__inference(T=1)
    return [float(found.point_estimate), float(found.stderr)]


def main(peer, folder, learner, threads, settings):
    from threadpoolctl import threadpool_limits

    if peer == "doubleml":
        import doubleml  # noqa: F401
    else:
        import econml.dr  # noqa: F401
    warnings.simplefilter("ignore")
    pair = models(learner, json.loads(settings))
    before = resident("VmRSS")
    start, worked = time.perf_counter(), cpu()
    with threadpool_limits(int(threads)):
        names = ("x", "arms2", "fold", "y")
        x, arm, fold, y = (np.load(Path(folder) / f"{name}.npy") for name in names)
        splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in np.unique(fold)]
        effects = globals()[peer](x, arm, np.ascontiguousarray(y[:, 0]), splits, *pair)
    said = {
        "all_s": time.perf_counter() - start,
        "all_cpu_s": cpu() - worked,
        "over_imports_mb": resident("VmHWM") - before,
    }
    alike = effects if peer == "doubleml" else []  # the other one fits another model
    print(json.dumps({"took": said, "effects": effects, "found": alike}))


if __name__ == "__main__":
    main(*sys.argv[1:])
