"""Covariates' levels with few units: nothing tells of them, before or after adjustment."""

from __future__ import annotations

import numpy as np
import pytest

import retention_lab as rl

DESIGN = {"arm": "arm", "control": "a"}
Y = {"name": "y", "kind": "mean", "role": "primary"}


def shop(n=2000, seed=0, **rare):
    """Cities x, y and z; `rare` gives the number of units of further ones, half in each arm."""
    rng = np.random.default_rng(seed)
    city = np.array(["x", "y", "z"])[rng.integers(0, 3, n)].astype(object)
    at = 0
    for name, units in rare.items():
        city[at : at + units] = None if name == "none" else name
        at += units
    arm = np.array(["a", "b"])[np.arange(n) % 2]
    return {"arm": arm, "city": city, "pre": rng.normal(size=n), "y": rng.normal(size=n)}


def analysed(write, columns, covariates=("city",), **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=DESIGN,
                 metrics=[Y | {"covariates": list(covariates)}], **spec)  # fmt: skip
    plan = rl.plan(path)
    return rl.analyse(plan, rl.reduce(plan))


def balanced(results):
    """What the analysis adjusts for, of what can be told apart."""
    return {r.term for r in results.where(estimand="covariate_difference").rows}


def difference(results):
    return results.one(estimand="mean_difference", segment=None)


def test_levels_with_few_units_join_the_first(write):
    columns = shop(v=8, w=300)
    found = analysed(write, columns)
    assert balanced(found) == {"city: x", "city: y", "city: z"}
    joined = dict(columns, city=np.where(np.isin(columns["city"], ["v"]), "w", columns["city"]))
    same = analysed(write, joined)
    assert difference(found).estimate == pytest.approx(difference(same).estimate, rel=1e-12)
    assert difference(found).std_error == pytest.approx(difference(same).std_error, rel=1e-12)
    assert found.one(estimand="variance_reduction").note.startswith("pooled_levels: ")
    assert same.one(estimand="variance_reduction").note is None


def test_two_small_levels_take_a_third(write):
    found = analysed(write, shop(a=6, b=8))
    assert len(balanced(found)) == 2
    assert not balanced(found) & {"city: a", "city: b"}


def test_enough_units_are_no_rare_level(write):
    found = analysed(write, shop(v=60))
    assert balanced(found) == {"city: x", "city: y", "city: z"}
    found = analysed(write, shop(v=8), privacy={"min_cell": 1})
    assert balanced(found) == {"city: x", "city: y", "city: z"}
    assert found.one(estimand="variance_reduction").note is None


def test_few_units_in_one_arm_are_few(write):
    columns = shop()
    columns["city"][np.flatnonzero(columns["arm"] == "a")[:100]] = "zz"
    columns["city"][np.flatnonzero(columns["arm"] == "b")[:5]] = "zz"
    assert balanced(analysed(write, columns)) == {"city: y", "city: z"}


def test_few_missing_values_are_no_group_of_their_own(write):
    assert balanced(analysed(write, shop(none=9))) == {"city: y", "city: z"}
    columns = shop()
    pre = [None if i < 9 else float(v) for i, v in enumerate(columns["pre"])]
    found = analysed(write, columns | {"pre": pre}, ["pre"])
    assert balanced(found) == {"pre"}
    pre = [None if i < 90 else float(v) for i, v in enumerate(columns["pre"])]
    assert balanced(analysed(write, columns | {"pre": pre}, ["pre"])) == {"pre", "pre missing"}


@pytest.mark.parametrize("turned", [False, True])
def test_a_number_that_marks_few_units_is_left_out(write, turned):
    columns = shop()
    columns["vip"] = (np.arange(2000) < 7) != turned
    found = analysed(write, columns, ["vip", "pre"])
    assert balanced(found) == {"pre"}
    alone = analysed(write, columns, ["vip"])
    assert not alone.where(estimand="unadjusted_difference").rows
    assert difference(alone).note.startswith("pooled_levels: ")
    columns["vip"] = np.arange(2000) < 90
    assert balanced(analysed(write, columns, ["vip", "pre"])) == {"vip", "pre"}


def test_a_level_that_is_hidden_as_a_segment_is_no_covariate(write):
    """With v, which is rare, a second level is hidden: the adjustment must not tell of it."""
    columns = shop(v=8, zz=120)
    found = analysed(write, columns, segments=["city"])
    hidden = {r.level for r in found.where(estimand="mean").rows
              if r.segment == "city" and r.estimate is None}  # fmt: skip
    assert hidden == {"v", "zz"}
    assert balanced(found) == {"city: x", "city: y", "city: z"}


def test_a_small_arm_does_not_take_the_others_covariates(write):
    columns = shop()
    columns["arm"] = columns["arm"].astype(object)
    columns["arm"][:10] = "c"
    assert balanced(analysed(write, columns)) == {"city: y", "city: z"}
