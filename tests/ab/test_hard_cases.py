"""Cases in which a plausible engine gives a wrong number: each has its right one here."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.errors import DataError, PlanError

DESIGN = {"arm": "arm", "control": "a", "unit": "id"}
START = dt.datetime(2026, 3, 1)
X = {"name": "x", "kind": "mean", "role": "primary"}


def analysed(write, columns, metrics=(X,), design=DESIGN, timed=False, **spec):
    data = {"units": "t.parquet"}
    if timed:
        data = {"assignments": {"table": "t.parquet", "at": "at"}, "as_of": dt.date(2026, 6, 1)}
    path = write({"t": columns}, data=data, design=design, metrics=list(metrics), **spec)
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return results, rl.decide(plan, results)


def entering(n, arms, seed=0, effect=0.0, days=30):
    rng = np.random.default_rng(seed)
    arm = rng.choice(list(arms), size=n, p=np.array(list(arms.values())) / sum(arms.values()))
    x = rng.normal(10, 2, n) + effect * (arm != "a")
    at = [START + dt.timedelta(days=int(d), hours=3) for d in np.sort(rng.integers(0, days, n))]
    return {"id": range(n), "arm": arm, "x": x, "at": at}


def test_a_metric_that_is_its_covariate_has_no_error_and_ends_no_run(write):
    rng = np.random.default_rng(1)
    for seed in range(10):
        net = np.round(np.random.default_rng(seed).gamma(2.0, 20.0, 400), 2)
        columns = {"id": range(400), "arm": rng.choice(["a", "b"], 400), "net": net,
                   "x": 1.1 * net}  # fmt: skip
        results, _ = analysed(write, columns, [X | {"covariates": ["net"]}])
        row = results.one(estimand="mean_difference")
        assert row.std_error is None or row.std_error < 1e-6


@pytest.mark.parametrize("kind", ["confidence_sequence", "obrien_fleming"])
def test_a_look_that_comes_too_early_says_keep_running(write, kind):
    inference = {"sequential": kind, "planned_units": 100_000}
    columns = entering(300, {"a": 1, "b": 1})
    _, verdict = analysed(write, columns, timed=True, inference=inference)
    assert verdict.decision == "keep_running"


def test_after_the_planned_end_nothing_more_counts(write):
    """The estimate, its error, its interval and its units are those of the last look."""
    columns = entering(6000, {"a": 1, "b": 1}, effect=0.3)
    inference = {"sequential": "obrien_fleming", "planned_units": 2000}
    results, _ = analysed(write, columns, timed=True, inference=inference)
    row = results.one(estimand="mean_difference")
    assert 2000 <= row.n + row.n_baseline < 2400
    assert row.ci_low < row.estimate < row.ci_high
    assert row.note.startswith("after_the_look")
    looks = results.where(estimand="sequential_difference").rows
    assert (row.estimate, row.ci_low) == pytest.approx((looks[-1].estimate, looks[-1].ci_low))


def test_the_planned_end_is_split_as_the_arms_are(write):
    """Of 9,000 units 8:1:1, the comparison of the two small arms ends with 1,800, not 6,000."""
    split = {"a": 8, "b": 1, "c": 1}
    columns = entering(9000, split, seed=2)
    inference = {"sequential": "pocock", "planned_units": 9000, "comparisons": "pairs"}
    design = DESIGN | {"expected_split": split}
    results, _ = analysed(write, columns, design=design, timed=True, inference=inference)
    row = results.one(estimand="mean_difference", arm="c", baseline="b")
    fixed = 2 * 1.96 * row.std_error
    assert row.ci_high - row.ci_low < 1.4 * fixed
    assert row.n + row.n_baseline > 1600


def test_a_factorial_design_without_one_corner_has_no_interaction(write):
    rng = np.random.default_rng(4)
    arm = rng.choice(["a", "c", "f"], 3000)
    columns = {"id": range(3000), "arm": arm, "x": rng.normal(10, 1, 3000) + (arm == "c")}
    factors = {"coupon": {"a": "no", "c": "yes", "f": "no"},
               "ship": {"a": "paid", "c": "paid", "f": "free"}}  # fmt: skip
    results, _ = analysed(write, columns, design=DESIGN | {"factors": factors})
    rows = results.where(estimand=["main_effect", "interaction"]).rows
    assert rows
    assert all(r.estimate is None and r.note.startswith("not_estimable") for r in rows)


def test_levels_that_differ_in_capitals_are_two(write):
    rng = np.random.default_rng(5)
    columns = {"id": range(900), "arm": rng.choice(["a", "b"], 900),
               "os": rng.choice(["AA", "IOS", "iOS"], 900), "x": rng.normal(size=900)}  # fmt: skip
    results, _ = analysed(write, columns, [X | {"covariates": ["os"]}])
    terms = {r.term for r in results.where(estimand="covariate_difference").rows}
    assert terms == {"os: IOS", "os: iOS"}


def test_values_missing_by_cluster_are_no_sign_of_the_treatment(write):
    invalid = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        store = np.repeat(np.arange(20), 50)
        gone = rng.random(1000) < rng.uniform(0, 0.6, 20)[store]
        x = [None if g else v for g, v in zip(gone, rng.normal(size=1000), strict=True)]
        columns = {
            "id": range(1000),
            "store": store,
            "arm": np.array(["a", "b"])[store % 2],
            "x": x,
        }
        design = DESIGN | {"cluster": "store"}
        _, verdict = analysed(write, columns, [X | {"missing": "drop"}], design=design)
        invalid += verdict.decision == "invalid"
    assert invalid == 0


def test_a_reduction_by_cluster_is_not_read_as_one_of_units(write, tmp_path):
    store = np.repeat(np.arange(20), 30)
    columns = {"id": range(600), "store": store, "arm": np.array(["a", "b"])[store % 2],
               "x": np.arange(600.0)}  # fmt: skip
    path = write({"t": columns}, data={"units": "t.parquet"}, design=DESIGN | {"cluster": "store"},
                 metrics=[X])  # fmt: skip
    rl.reduce(rl.plan(path)).save(tmp_path / "m.parquet")
    path = write({}, data={"moments": "m.parquet"}, design=DESIGN, metrics=[X])
    with pytest.raises(PlanError, match=r"is split by store, which the file does not name"):
        rl.plan(path)


def test_no_day_can_be_worked_out_from_two_looks(write):
    """A day with two units an arm is in no look of its own, nor alone among hidden days."""
    columns = entering(4000, {"a": 1, "b": 1}, days=20)
    few = [i for i, t in enumerate(columns["at"]) if t.day == 8]
    drop = set(few[4:])
    kept = [i for i in range(4000) if i not in drop]
    columns = {k: [v[i] for i in kept] for k, v in columns.items()}
    inference = {"sequential": True, "planned_units": 4000}
    results, _ = analysed(write, columns, timed=True, inference=inference)
    looks = results.where(estimand="sequential_difference").rows
    assert "2026-03-08" not in {r.at for r in looks}
    steps = np.diff([[r.n, r.n_baseline] for r in looks], axis=0)
    assert steps.min() >= 20
    hidden = [r.at for r in results.where(estimand="daily_difference").rows if r.estimate is None]
    assert len(hidden) >= 2


def test_a_cluster_in_two_arms_of_two_reductions_is_refused(write, tmp_path):
    store = np.repeat(np.arange(20), 30)
    design = DESIGN | {"cluster": "store"}
    for i in (0, 1):
        columns = {"id": range(600), "store": store, "arm": np.array(["a", "b"])[(store + i) % 2],
                   "x": np.arange(600.0) + i}  # fmt: skip
        path = write({"t": columns}, data={"units": "t.parquet"}, design=design, metrics=[X])
        rl.reduce(rl.plan(path)).save(tmp_path / f"m{i}.parquet")
    files = ["m0.parquet", "m1.parquet"]
    path = write({}, data={"moments": files}, design=design, metrics=[X])
    plan = rl.plan(path)
    with pytest.raises(DataError, match="20 clusters by 'store' are in two arms"):
        rl.reduce(plan)


def test_a_covariate_that_reductions_do_not_hold_is_a_plan_error(write, tmp_path):
    rng = np.random.default_rng(6)
    columns = {"id": range(400), "arm": ["a", "b"] * 200, "x": rng.normal(size=400),
               "pre": rng.normal(size=400)}  # fmt: skip
    path = write({"t": columns}, data={"units": "t.parquet"}, design=DESIGN,
                 metrics=[X | {"covariates": ["pre"]}])  # fmt: skip
    rl.reduce(rl.plan(path)).save(tmp_path / "m.parquet")
    path = write({}, data={"moments": "m.parquet"}, design=DESIGN,
                 metrics=[X | {"covariates": ["pre", "prre"]}])  # fmt: skip
    with pytest.raises(PlanError, match="do not hold covariate 'prre'"):
        rl.plan(path)
