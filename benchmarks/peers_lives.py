"""A Parquet glob of customers in; seconds and memory of a peer's curves or Cox model out (JSON).

``python peers_lives.py PEER QUESTION GLOB`` runs in the peers' own environment (see lives.py); it
must not import anything of the lab. Reading the file is timed apart from the answer.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from peers_process import cpu, resident

COVARIATES = ["region", "channel", "device", "basket"]


def read(files, columns):
    """The frame; text as categories."""
    parts = [
        pd.read_parquet(f, columns=columns)
        for f in sorted(Path(files).parent.glob(Path(files).name))
    ]
    frame = pd.concat(parts) if len(parts) > 1 else parts[0]
    for c in columns[:-2]:
        frame[c] = frame[c].astype("category")
    return frame


def dummies(frame):
    """Day and event, and a 0/1 column for each level but the first."""
    return pd.get_dummies(frame, columns=COVARIATES, drop_first=True, dtype=np.float64)


def curves_lifelines(frame):
    from lifelines import KaplanMeierFitter
    from lifelines.statistics import multivariate_logrank_test

    for _, part in frame.groupby("cohort", observed=True):
        KaplanMeierFitter().fit(part["day"], part["event"])
    test = multivariate_logrank_test(frame["day"], frame["cohort"].cat.codes, frame["event"])
    return [float(test.test_statistic)]


def curves_sksurv(frame):
    from sksurv.compare import compare_survival
    from sksurv.nonparametric import kaplan_meier_estimator

    for _, part in frame.groupby("cohort", observed=True):
        kaplan_meier_estimator(part["event"].to_numpy(bool), part["day"], conf_type="log-log")
    chi2, _ = compare_survival(structured(frame), frame["cohort"].cat.codes.to_numpy())
    return [float(chi2)]


def curves_statsmodels(frame):
    from statsmodels.duration.survfunc import SurvfuncRight, survdiff

    for _, part in frame.groupby("cohort", observed=True):
        SurvfuncRight(part["day"].to_numpy(float), part["event"].to_numpy())
    codes = frame["cohort"].cat.codes.to_numpy()
    chi2, _ = survdiff(frame["day"].to_numpy(float), frame["event"].to_numpy(), codes)
    return [float(chi2)]


def cox_lifelines(frame):
    from lifelines import CoxPHFitter

    fitted = CoxPHFitter().fit(dummies(frame), "day", "event")
    return [float(b) for b in fitted.params_]


def robust_lifelines(frame):
    from lifelines import CoxPHFitter

    fitted = CoxPHFitter().fit(dummies(frame), "day", "event", robust=True)
    return [float(b) for b in fitted.params_]


def cox_sksurv(frame):
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    table = dummies(frame).drop(columns=["day", "event"])
    fitted = CoxPHSurvivalAnalysis(ties="efron").fit(table.to_numpy(), structured(frame))
    return [float(b) for b in fitted.coef_]


def cox_statsmodels(frame):
    from statsmodels.duration.hazard_regression import PHReg

    table = dummies(frame).drop(columns=["day", "event"])
    event = frame["event"].to_numpy()
    fitted = PHReg(frame["day"].to_numpy(float), table.to_numpy(), event, ties="efron").fit(disp=0)
    return [float(b) for b in fitted.params]


def structured(frame):
    """Event and time as scikit-survival wants them."""
    out = np.empty(len(frame), dtype=[("event", bool), ("day", float)])
    out["event"], out["day"] = frame["event"], frame["day"]
    return out


def imports(peer):
    """What a peer's imports take is not its work's."""
    if peer == "lifelines":
        import lifelines.statistics  # noqa: F401
    elif peer == "sksurv":
        import sksurv.compare
        import sksurv.linear_model
        import sksurv.nonparametric  # noqa: F401
    else:
        import statsmodels.duration.hazard_regression
        import statsmodels.duration.survfunc  # noqa: F401


def main(peer, question, files):
    imports(peer)
    before = resident("VmRSS")
    columns = ["cohort"] if question == "curves" else COVARIATES
    start, worked = time.perf_counter(), cpu()
    frame = read(files, [*columns, "day", "event"])
    had, had_cpu = time.perf_counter(), cpu()
    found = globals()[f"{question}_{peer}"](frame)
    done, done_cpu = time.perf_counter(), cpu()
    said = {
        "read_s": had - start,
        "answer_s": done - had,
        "all_s": done - start,
        "answer_cpu_s": done_cpu - had_cpu,
        "all_cpu_s": done_cpu - worked,
        "over_imports_mb": resident("VmHWM") - before,
    }
    print(json.dumps({"took": said, "found": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
