"""Columns of units in; a test of two arms on them, analysed and decided, out."""

from __future__ import annotations

import numpy as np

import retention_lab as rl

DESIGN = {"arm": "arm", "control": "a"}
X = {"name": "x", "kind": "mean", "role": "primary"}
DIFFERENCE = {"estimand": ["mean_difference", "ratio_difference"], "segment": None}


def run(write, columns, metrics=(X,), design=DESIGN, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                 metrics=list(metrics), **spec)  # fmt: skip
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def normal(n=400, seed=0, **effect):
    """Units in arms a and b; `effect` shifts x by arm."""
    rng = np.random.default_rng(seed)
    arm = np.array(["a", "b"])[np.arange(n) % 2]
    return {"arm": arm, "x": rng.normal(size=n) + np.vectorize(effect.get)(arm, 0.0)}
