"""A threshold's file against its table: what is refused, and in which words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import retention_lab as rl
from retention_lab.errors import PlanError, SpecError
from retention_lab.experiment.remarks import remarks

SAID = {"strategy": "threshold", "running": "basket", "cutoff": 49}
METRICS = [{"name": "again", "kind": "proportion"}]


def baskets(n=400):
    rng = np.random.default_rng(0)
    return {
        "basket": np.round(rng.gamma(2.6, 54 / 2.6, n), 2),
        "again": rng.integers(0, 2, n),
        "before": rng.normal(size=n),
        "channel": np.array(["a", "b"])[rng.integers(0, 2, n)],
        "day": np.array(["2025-01-01"] * n, "datetime64[D]"),
        "id": np.arange(n).astype(str),
    }


def planned(write, columns=None, metrics=METRICS, more=None, data=None, **spec):
    return rl.plan(write({"units": baskets() if columns is None else columns},
                         data=data or {"units": "units.parquet"}, metrics=metrics,
                         incentive={**SAID, **(more or {})}, **spec))  # fmt: skip


def test_a_sound_file_has_a_plan(write):
    plan = planned(write, more={"covariates": ["before", "channel"], "placebo_cutoffs": [30]})
    assert dict(plan.needed) == {}
    assert plan.arms == ()
    assert plan.offer.outcomes == ("again",)
    assert [c.name for c in plan.offer.covariates] == ["before", "channel=b"]
    assert [i.name for i in plan.inputs] == ["units"]
    (sides,) = [c.text for c in plan.checks if c.code == "sides"]
    x = baskets()["basket"]
    assert sides == f"{(x < 49).sum()} units below, {(x >= 49).sum()} units at or above 49"


def test_a_covariate_that_is_missing_is_counted_among_all_units(write):
    columns = baskets()
    columns["before"] = pa.array([None if i < 390 else float(i % 7) for i in range(400)])
    plan = planned(write, columns, more={"covariates": ["before"]})
    (numbers,) = [c.numbers for c in plan.checks if c.code == "covariate"]
    assert numbers == {"how": "test", "n": 390, "all": 400, "name": "before"}
    # The ten that have a value are not told either.
    assert [r["n"] for r in remarks(plan.checks, 20) if r["code"] == "covariate"] == ["~"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"cutoff": 5000}, "go from .* to .*both sides"),
        ({"cutoff": 0}, "is not within the values"),
        ({"cutoff": 4.0}, "each side needs 20"),
        ({"running": "baskt"}, "did you mean 'basket'"),
        ({"running": "channel"}, "holds text"),
        ({"running": "day"}, "holds date"),
        ({"running": "again"}, "cannot be what it moves"),
        ({"placebo_cutoffs": [49]}, "is the cutoff itself"),
        ({"placebo_cutoffs": [-3]}, "placebo_cutoffs: -3 is not within"),
        ({"covariates": ["again"]}, "known before the limit"),
        ({"covariates": ["basket"]}, "is the running variable"),
        ({"covariates": ["nothing"]}, "column 'nothing' is not in"),
        ({"covariates": ["day"]}, "holds date"),
        ({"covariates": ["id"]}, "more than 20 levels"),
        ({"covariates": [{"column": "before", "at": "day"}]}, "name the column alone"),
    ],
)
def test_what_does_not_fit_is_refused(write, more, words):
    with pytest.raises(PlanError, match=words):
        planned(write, more=more)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"metrics": [{"name": "again", "kind": "quantile", "quantile": 0.5}]}, "is a quantile"),
        ({"metrics": [{**METRICS[0], "covariates": ["before"]}]}, "does not use covariates"),
        ({"segments": ["channel"]}, "is not split"),
        ({"inference": {"sequential": True}}, "looked at once"),
    ],
)
def test_sections_that_a_threshold_does_not_use(write, spec, words):
    with pytest.raises(PlanError, match=words):
        planned(write, **spec)


def test_few_different_values_are_refused_with_their_number(write):
    d = baskets()
    d["basket"] = np.where(d["basket"] < 49, np.round(d["basket"] / 10) * 8, d["basket"])
    with pytest.raises(PlanError, match=r"has \d different values below 49"):
        planned(write, d)


def test_many_on_few_values_are_told(write):
    d = baskets()
    d["basket"] = np.round(d["basket"])
    assert "mass_points" in {c.code for c in planned(write, d).checks}


def test_no_rows_and_no_values(write):
    with pytest.raises(PlanError, match="has no rows"):
        planned(write, {k: v[:0] for k, v in baskets().items()})
    d = baskets()
    with pytest.raises(PlanError, match="has no value"):
        planned(write, {**d, "basket": np.full(400, np.nan)})


def test_values_that_are_no_outcomes_are_a_fault_of_the_metric(write):
    d = baskets()
    d["again"] = d["again"] + 1
    plan = planned(write, d)
    assert plan.faults["again"].startswith("not_binary: ")


def test_a_threshold_needs_its_keys(write):
    with pytest.raises(SpecError, match="threshold needs running, cutoff"):
        rl.plan(write({"units": baskets()}, data={"units": "units.parquet"}, metrics=METRICS,
                      incentive={"strategy": "threshold"}))  # fmt: skip
