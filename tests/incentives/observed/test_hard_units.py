"""What shops' data does to adjustment: refused by name, or a row with a reason."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from seen import made, sample_of

from retention_lab.errors import DataError, LabError
from retention_lab.incentives.observed.aipw import average_effect, effect_on_treated
from retention_lab.incentives.observed.crossfit import cross_fit
from retention_lab.incentives.observed.effects import effect, naive
from retention_lab.incentives.observed.nuisance import Boosting, Linear
from retention_lab.incentives.observed.overlap import (
    comparable,
    histogram,
    no_overlap,
    overlap,
    refuse,
)
from retention_lab.incentives.observed.plr import partially_linear_effect

LEARNERS = [Linear(), Boosting(iterations=20)]
ids = {"ids": ["linear", "boosting"]}


@pytest.fixture(params=LEARNERS, **ids)
def learner(request):
    return request.param


def effects(c):
    return [effect(f(c, 1)) for f in (average_effect, effect_on_treated, partially_linear_effect)]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e15, -3.7])
def test_a_constant_outcome_has_no_error(learner, value):
    columns = made(300)
    columns["outcomes"] = {"y": np.full(300, value)}
    for found in effects(cross_fit(sample_of(columns), learner).crossed["y"]):
        assert found.estimate == 0.0
        assert found.std_error is None
        assert found.p_value is None
        assert found.note.startswith("zero_variance")


def test_an_outcome_that_is_constant_in_each_arm(learner):
    columns = made(300)
    columns["outcomes"] = {"y": (columns["arm"] == "coupon") * 2.0 + 1.0}
    for found in effects(cross_fit(sample_of(columns), learner).crossed["y"]):
        assert found.estimate == pytest.approx(2.0, rel=1e-9)
        assert found.std_error is None
        assert found.note.startswith("zero_variance")


def test_an_outcome_that_follows_from_the_covariates_has_no_error():
    columns = made(300)
    x = columns["covariates"]
    columns["outcomes"] = {"y": 1.0 + 2.0 * x["x0"] - x["x1"] + (columns["arm"] == "coupon")}
    found = effect(average_effect(cross_fit(sample_of(columns), Linear()).crossed["y"], 1))
    assert found.estimate == pytest.approx(1.0, rel=1e-9)
    assert found.note.startswith("zero_variance")


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_outcomes_stop_their_outcome_only(learner, bad):
    columns = made(300)
    columns["outcomes"]["y"] = columns["outcomes"]["y"].copy()
    columns["outcomes"]["y"][3] = bad
    crossed = cross_fit(sample_of(columns), learner).crossed
    assert all(f.estimate is None for f in effects(crossed["y"]))
    assert effects(crossed["y"])[0].note.startswith("not_finite")
    assert effects(crossed["bought"])[0].std_error > 0


def test_an_arm_of_ten_is_told_and_stops_nobody_else(learner):
    columns = made(600, arms=3)
    keep = (columns["arm"] != "points") | (np.cumsum(columns["arm"] == "points") <= 10)
    columns = {
        **columns,
        "arm": columns["arm"][keep],
        **{k: {n: v[keep] for n, v in columns[k].items()} for k in ("covariates", "outcomes")},
    }
    c = cross_fit(sample_of(columns), learner).crossed["y"]
    assert c.arms == ("none", "coupon")
    assert c.few["points"].startswith("too_few_units: 10 units")
    rest = columns["arm"] != "points"
    two = {
        **columns,
        "arms": ("none", "coupon"),
        "arm": columns["arm"][rest],
        **{k: {n: v[rest] for n, v in columns[k].items()} for k in ("covariates", "outcomes")},
    }
    alone = cross_fit(sample_of(two), learner).crossed["y"]
    assert len(alone.y) == len(c.y)
    assert effects(c)[0].std_error == pytest.approx(effects(alone)[0].std_error, rel=0.2)


def test_nobody_in_the_control_is_told(learner):
    columns = made(300)
    columns["outcomes"]["y"] = np.where(columns["arm"] == "none", np.nan, columns["outcomes"]["y"])
    c = cross_fit(sample_of(columns), learner).crossed["y"]
    assert effects(c)[0].note.startswith("too_few_units: 0 units")


@pytest.mark.parametrize("kind", ["itself", "rule", "level"])
def test_a_treatment_that_predicts_itself_is_refused_with_the_region(learner, kind):
    columns = made(600)
    got = columns["arm"] == "coupon"
    if kind == "rule":
        got = columns["covariates"]["x1"] > 0.2
        columns["arm"] = np.where(got, "coupon", "none").astype(object)
    hint = {"itself": 1.0 * got, "rule": np.zeros(600), "level": 1.0 * ~got}[kind]
    columns["covariates"] |= {"tier=gold": hint + 1e-3 * np.arange(600)}
    if kind != "itself":
        columns["covariates"]["tier=gold"] = hint
    sample = sample_of(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        c = cross_fit(sample, learner).crossed["y"]
    found = overlap(c, 1, 0, comparable(c, 1, 0, 0.01), 0.01)
    assert not found.enough
    why = no_overlap(c, 1, 0, found, sample.x[c.rows], sample.names)
    where = {
        "itself": r"tier is 'gold'",
        "rule": r"x1 > 0\.[12]\d*",
        "level": r"tier is not 'gold'",
    }[kind]
    assert re.search(rf"where {where} there are {got.sum()} of 'coupon' and 0 of 'none'", why)
    error = refuse(c, [why])
    assert isinstance(error, LabError)
    assert "no overlap in 'y'" in str(error)


def test_a_region_without_comparison_is_left_out_and_the_rest_compared():
    """Gold customers always get it: they are trimmed, the others are compared."""
    columns = made(2000)
    gold = np.random.default_rng(8).random(2000) < 0.3
    columns["arm"] = np.where(gold, "coupon", columns["arm"])
    columns["covariates"]["tier=gold"] = gold * 1.0
    columns["outcomes"]["y"] = columns["outcomes"]["y"] + 5.0 * gold
    sample = sample_of(columns)
    c = cross_fit(sample, Linear()).crossed["y"]
    found = average_effect(c, 1)
    assert found.left_out == pytest.approx(gold.mean(), abs=0.01)
    told = effect(found)
    assert abs(told.estimate - 1.0) < 4 * told.std_error


def test_a_rare_arm_is_told_to_trim_less():
    columns = made(6000)
    rare = np.random.default_rng(1).random(6000) < 0.006
    columns["arm"] = np.where(rare, "coupon", "none").astype(object)
    c = cross_fit(sample_of(columns), Linear()).crossed["y"]
    found = overlap(c, 1, 0, comparable(c, 1, 0, 0.01), 0.01)
    assert "set incentive.trim lower" in no_overlap(c, 1, 0, found, sample_of(columns).x, ())


def test_collinear_and_constant_covariates_are_dropped_by_name(learner):
    columns = made(400)
    x = columns["covariates"]
    plain = cross_fit(sample_of(columns), learner).crossed["y"]
    columns["covariates"] = {
        "one": np.full(400, 3.0),
        **x,
        "twice": 2.0 * x["x0"],
        "mixed": x["x0"] - x["x1"] + 1e-12 * x["x2"],
    }
    sample = sample_of(columns)
    assert sample.names == ("x0", "x1", "x2")
    assert sample.dropped == ("one", "twice", "mixed")
    again = cross_fit(sample, learner).crossed["y"]
    assert len(again.y) == len(plain.y)
    assert effects(again)[0].std_error == pytest.approx(effects(plain)[0].std_error, rel=0.2)


def test_a_level_that_one_arm_hardly_has_does_not_break_its_fit():
    columns = made(400)
    level = np.zeros(400)
    level[np.flatnonzero(columns["arm"] == "coupon")[0]] = 1.0
    columns["covariates"]["market=Malta"] = level
    found = effects(cross_fit(sample_of(columns), Linear()).crossed["y"])
    assert all(f.std_error is not None and f.std_error < 0.5 for f in found)


def test_a_covariate_from_after_the_exposure_is_refused_by_name():
    columns = made(100)
    columns["covariates"]["opened=yes"] = np.arange(100.0)
    with pytest.raises(DataError, match=r"'opened' is what metric 'opening' measures.*take it out"):
        sample_of(columns, after={"opened": "what metric 'opening' measures"})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_covariates_are_numbers(bad):
    columns = made(100)
    columns["covariates"]["x1"] = np.where(np.arange(100) < 2, bad, 0.0)
    with pytest.raises(DataError, match=r"covariate 'x1' of 2 units is missing or infinite"):
        sample_of(columns)


@pytest.mark.parametrize("bad", [0.0, 1.0, np.nan, -0.1])
def test_known_chances_are_chances(bad):
    p = np.full(100, 0.5)
    p[7] = bad
    with pytest.raises(DataError, match="propensity: 1 unit without a number above 0"):
        sample_of(made(100), propensity=p)


def test_one_column_of_chances_is_of_one_arm():
    with pytest.raises(DataError, match="2 treated arms"):
        sample_of(made(100, arms=3), propensity=np.full(100, 0.5))


def test_an_arm_that_nobody_named():
    with pytest.raises(ValueError, match="not one of none, points: 'coupon'"):
        sample_of(made(100), arms=("none", "points"))


def test_one_cluster_has_no_error():
    sample = sample_of(made(300), cluster=np.zeros(300, np.int64))
    found = effect(naive(sample.arm, sample.y["y"], 1, 0), sample.cluster)
    assert found.note.startswith("one_cluster")
    assert found.std_error is None


def test_a_histogram_of_chances_adds_up():
    c = cross_fit(sample_of(made()), Linear()).crossed["y"]
    found = histogram(c, 1, 0)
    assert found.edges[0] == 0.0
    assert found.edges[-1] == 1.0
    assert found.arm.sum() == pytest.approx(1.0)
    assert found.baseline.sum() == pytest.approx(1.0)
    middles = (found.edges[:-1] + found.edges[1:]) / 2
    assert found.arm @ middles > found.baseline @ middles
