"""Small, nasty data sets against the numbers that other software has of them (see their meta).

Counted rows with heavy ties, late entry, times that are no whole numbers, covariates far from 0 or
of a million, levels and strata of a few rows, and events that repeat.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retention_lab.data.lifetable import LifeTable
from retention_lab.data.repeats import Repeats
from retention_lab.survival.competing import cumulative_incidence
from retention_lab.survival.curves import kaplan_meier, nelson_aalen
from retention_lab.survival.gray import gray
from retention_lab.survival.logrank import logrank
from retention_lab.survival.model.concordance import concordance
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.discrete import fit_discrete, person_periods
from retention_lab.survival.model.finegray import fit_fine_gray
from retention_lab.survival.model.predict import CoxModel
from retention_lab.survival.model.proportional import proportionality
from retention_lab.survival.rates import rates
from retention_lab.survival.recurrent import mean_cumulative
from retention_lab.survival.rmst import rmst
from retention_lab.survival.steps import steps_of

SAID = json.loads((Path(__file__).parents[1] / "golden" / "other_survival.json").read_text())
LIVES, REPEATS = SAID["lives"], SAID["repeats"]
KINDS = ("log-log", "log", "plain")
TIES = ("efron", "breslow", "exact")
NAMES = ("x1", "x2")


def same(mine: Any, theirs: Any, rel: float = 1e-10) -> None:
    """Equal to `rel`; what is unknown or infinite here is so there. Numbers below 1e-12 are 0."""
    found, said = (np.atleast_1d(np.array(v, np.float64)) for v in (mine, theirs))
    found = np.where(np.isinf(found), np.nan, found)
    np.testing.assert_allclose(found, said, rtol=rel, atol=1e-12, equal_nan=True)


class Case:
    """Rows of one set of lives, and what was said of it."""

    def __init__(self, name: str) -> None:
        rows = {k: np.array(v) for k, v in LIVES[name]["rows"].items()}
        self.said = LIVES[name]["said"]
        self.stop, self.cause, self.n = rows["stop"].astype(float), rows["cause"], rows["w"]
        self.late = bool((rows["start"] >= 0).any())
        self.start = rows["start"].astype(float) if self.late else None
        self.x = np.stack([rows["x1"], rows["x2"]], axis=1).astype(float)
        self.g, self.s = rows["g"].astype(object), rows["s"].astype(object)
        self.cluster = rows["cl"]
        self.steps = steps_of(self.stop, self.cause, self.n, self.start, causes=2)
        self.life = LifeTable.of(
            self.stop, self.cause, self.n, self.start, causes=("a", "b"), g=self.g, s=self.s
        )

    def data(self, model: str = "p", **more: Any) -> SurvivalData:
        strata = self.s if model == "s" else None
        own = {"n": self.n, "start": self.start, "strata": strata, **more}
        return SurvivalData.of(self.stop, self.cause == 1, self.x, NAMES, **own)


EVERY = {name: Case(name) for name in LIVES}
AT_ONCE = [name for name, case in EVERY.items() if not case.late]  # known from the origin on
COX = [
    (name, model, ties)
    for name, case in EVERY.items()
    for model in "ps"
    for ties in TIES
    if f"cox.{model}.{ties}.b" in case.said
]


@pytest.fixture(params=EVERY)
def case(request: pytest.FixtureRequest) -> Case:
    return EVERY[request.param]


@pytest.fixture(params=AT_ONCE)
def early(request: pytest.FixtureRequest) -> Case:
    return EVERY[request.param]


def test_curves_and_their_limits(case):
    said = case.said
    for kind in KINDS:
        curve = kaplan_meier(case.steps, kind)
        same(curve.low, said[f"km.l.{kind}"])
        same(curve.high, said[f"km.u.{kind}"])
        found = curve.quantiles([0.1, 0.25, 0.5, 0.75, 0.9])
        same(np.concatenate([found.time, found.low, found.high]), said[f"q.{kind}"])
    same(curve.survival, said["km.s.log-log"])
    same(curve.std_error, said["km.e.log-log"])
    for name, one_by_one in (("na", False), ("fh", True)):
        hazard = nelson_aalen(case.steps, one_by_one=one_by_one)
        same(hazard.hazard, said[name])
        same(hazard.std_error, said[f"{name}.e"])
    tau, mean, error = said["rmst"]
    found = rmst(case.steps, tau)
    same([found.estimate, found.std_error], [mean, error])


def test_tests_over_groups(early):
    for rho, test in ((0, "gray"), (1, "gray1")):
        for name, strata in (("lr", ()), ("lrs", ("s",))):
            same(logrank(early.life, "g", strata=strata, rho=rho).chi2, early.said[f"{name}.{rho}"])
        for cause, chi2 in zip(early.said["gray.causes"], early.said[test], strict=True):
            same(gray(early.life, "g", cause=cause, rho=rho).chi2, chi2)


@pytest.mark.parametrize("cause", [1, 2])
def test_incidences(case, cause):
    found = cumulative_incidence(case.steps, cause)
    same(found.incidence, case.said[f"aj.{cause}"])
    if not case.late:
        same(found.std_error, case.said[f"aj.e{cause}"])


@pytest.mark.parametrize(("name", "model", "ties"), COX)
def test_cox(name, model, ties):
    """Plain (p) and in strata (s)."""
    case = EVERY[name]
    said = {k.split(".", 3)[3]: v for k, v in case.said.items() if f"cox.{model}.{ties}." in k}
    data = case.data(model)
    fit = fit_cox(data, ties)
    assert fit.note is None
    same(fit.coef, said["b"], 1e-7)
    same(fit.std_error, said["se"], 1e-7)
    if ties == "exact":
        return
    same([fit.loglik_null, fit.loglik], said["ll"])
    same(fit.score.chisq, said["sc"], 1e-8)
    for transform in ("km", "log"):
        same(proportionality(fit, data, transform).chisq, said[f"zph.{transform}"], 1e-6)
    found = concordance(fit, data)
    same([found.estimate, found.std_error], said["c"], 1e-9)
    clustered = case.data(model, cluster=case.cluster).expanded()
    same(fit_cox(clustered, ties).robust_error, said["rob"], 1e-7)
    if "rob1" in said:
        same(fit_cox(data, ties, robust=True).robust_error, said["rob1"], 1e-7)
    if "ps" in said:
        most = {"x1": [case.x[:, 0].max()], "x2": [1.0]}
        found = CoxModel.of(fit, data).predict(most, said["pt"])
        same(found.survival[0], said["ps"], 1e-7)
        same(found.std_error[0], said["pe"], 1e-6)
        same(found.low[0], said["pl"], 1e-6)


def test_models_of_coming_first_and_by_period(early):
    data = early.data(competing=early.cause == 2)
    for ties in ("efron", "breslow"):
        same(fit_fine_gray(data, ties).coef, early.said[f"fg.{ties}"], 1e-7)
    for link in ("cloglog", "logit"):
        fit = fit_discrete(person_periods(data), link)
        assert fit.note is None
        same([*fit.coef[-2:], *fit.std_error[-2:]], early.said[f"disc.{link}"], 1e-6)


@pytest.mark.parametrize("name", REPEATS)
def test_events_that_repeat(name):
    rows = {k: np.array(v, np.float64) for k, v in REPEATS[name]["rows"].items()}
    said = REPEATS[name]["said"]
    repeats = Repeats.of(
        rows["id"], rows["stop"], rows["ev"], rows["start"], x=rows["x"], g=rows["g"]
    )
    found = mean_cumulative(repeats)
    same(found.time, said["t"])
    same(found.estimate, said["m"])
    same(found.std_error, said["e"])
    for ties in ("efron", "breslow"):
        fit = rates(repeats, ["x", "g"], ties=ties)
        assert fit.note is None
        same(fit.estimate, said[f"{ties}.b"], 1e-7)
        same(fit.std_error, said[f"{ties}.r"], 1e-7)
        same(fit.model_error, said[f"{ties}.n"], 1e-7)
    assert math.isfinite(said["m"][-1])
