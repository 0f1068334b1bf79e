"""Data of reference cases and slow, plain computations for the tests of Cox's model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from retention_lab.survival.model.data import SurvivalData

MADE_BY_R = Path(__file__).parents[2] / "golden" / "cox_r.json"
NAMES = ("z1", "z2", "g=b", "g=c")


def cox_by_r() -> dict[str, Any]:
    """Numbers of R's survival and cmprsk for 150 counted rows with ties; see `meta`."""
    return json.loads(MADE_BY_R.read_text())


def columns_by_r(content: dict[str, Any]) -> dict[str, np.ndarray]:
    return {k: np.array(v) for k, v in content["rows"].items()}


def data_by_r(
    rows: dict[str, np.ndarray],
    late: bool = False,
    strata: bool = False,
    cluster: bool = False,
    counted: bool = True,
    cause: int = 1,
) -> SurvivalData:
    """The rows as counted rows, or each expanded."""
    x = np.stack([rows["z1"], rows["z2"], rows["g"] == "b", rows["g"] == "c"], axis=1).astype(float)
    data = SurvivalData.of(
        rows["time"],
        rows["cause"] == cause,
        x,
        NAMES,
        n=rows["k"],
        start=rows["entry"] if late else None,
        strata=rows["s"] if strata else None,
        cluster=rows["id"] if cluster else None,
        competing=rows["cause"] == 3 - cause,
        strata_keys=("s",) if strata else (),
        strata_names=["s=1", "s=2", "s=3"] if strata else None,
    )
    return data if counted else data.expanded()


def random_data(
    rng: np.random.Generator,
    rows: int = 60,
    k: int = 3,
    times: int = 8,
    late: bool = True,
    strata: int = 2,
    counts: int = 3,
) -> SurvivalData:
    """Counted rows with many ties, late entry, strata and some counts of 0."""
    stop = rng.integers(1, times + 1, rows).astype(float)
    start = np.where(rng.random(rows) < 0.4, -np.inf, rng.integers(0, times, rows))
    return SurvivalData.of(
        stop,
        rng.random(rows) < 0.5,
        np.round(rng.normal(size=(rows, k)), 2),
        n=rng.integers(0, counts + 1, rows),
        start=start if late else None,
        strata=rng.integers(0, strata, rows) if strata > 1 else None,
        cluster=rng.integers(0, 25, rows),
    )


def slow_cox(
    data: SurvivalData, beta: np.ndarray, ties: str, weight: Any = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log-likelihood, score and information, death by death over all rows one by one.

    `weight` (rows, time) -> weights lets rows count with other weights in the sums at a time.
    """
    data = data.expanded()
    stratum = np.zeros(data.rows, int) if data.strata is None else data.strata
    k = len(beta)
    loglik, score, information = 0.0, np.zeros(k), np.zeros((k, k))
    hazard = np.exp(data.x @ beta)
    for s, t in sorted(set(zip(stratum[data.event], data.stop[data.event], strict=True))):
        if weight is None:
            at_risk = ((data.start < t) & (data.stop >= t)).astype(float)
        else:
            at_risk = weight(data, t)
        at_risk = at_risk * (stratum == s)
        dying = data.event & (data.stop == t) & (stratum == s)
        d = int(dying.sum())
        loglik += float((data.x[dying] @ beta).sum())
        score += data.x[dying].sum(axis=0)
        for i in range(d):
            w = at_risk * hazard * np.where(dying, 1 - (i / d if ties == "efron" else 0), 1.0)
            p = w / w.sum()
            mean = p @ data.x
            off = data.x - mean
            loglik -= float(np.log(w.sum()))
            score -= mean
            information += (off * p[:, None]).T @ off
    return loglik, score, information
