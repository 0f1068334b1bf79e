"""From rows to the result table: real data, several arms and segments, and nasty inputs."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

import retention_lab as rl
from retention_lab.errors import DataError, PlanError
from retention_lab.multiplicity import benjamini_hochberg, holm

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


# -- real data ----------------------------------------------------------------------------------


@pytest.fixture
def email(hillstrom, tmp_path):
    """Hillstrom's e-mail test, analysed: plan, results, verdict."""
    spec = {
        "schema": 1,
        "name": "email",
        "title": "E-mail",
        "data": {"units": str(hillstrom)},
        "design": {"arm": "treatment", "control": "No E-Mail"},
        "metrics": [
            {"name": "visit", "kind": "proportion"},
            {"name": "conversion", "kind": "proportion"},
            {"name": "spend", "kind": "mean", "role": "primary"},
        ],
        "segments": ["channel"],
    }
    path = tmp_path / "email.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def test_hillstrom_is_reproduced_from_rows(email, golden):
    _, results, verdict = email
    for key, expected in golden["hillstrom_itt"]["values"].items():
        arm, metric = key.split("|")
        row = results.one(metric=metric, arm=arm, **DIFFERENCE)
        assert row.estimate == pytest.approx(expected["itt"], rel=1e-9)
        assert row.std_error == pytest.approx(expected["se_hc2"], rel=1e-7)
        lift = results.one(metric=metric, arm=arm, estimand="relative_lift", segment=None)
        assert lift.estimate == pytest.approx(expected["rel_lift"], rel=1e-9)
    for arm, means in golden["hillstrom_arm_means"]["means"].items():
        for metric, mean in means.items():
            row = results.one(metric=metric, arm=arm, estimand="mean", segment=None)
            assert row.estimate == pytest.approx(mean, rel=1e-9)
            variance = golden["hillstrom_arm_means"]["var_ddof1"][arm][metric]
            assert row.std_error**2 * row.n == pytest.approx(variance, rel=1e-9)
    split = results.one(estimand="sample_ratio")
    assert (split.estimate, split.p_value) == pytest.approx((0.202531, 0.903693), abs=5e-7)
    assert verdict.decision == "ship"
    assert verdict.arm == "Mens E-Mail"


def test_hillstroms_lift_interval_is_fiellers(email, golden):
    """The reference takes 1.96 where Student's t has 1.96004 with 31,000 degrees of freedom."""
    _, results, _ = email
    for arm in ("Mens E-Mail", "Womens E-Mail"):
        expected = golden["hillstrom_roi"]["values"][f"{arm}|margin=0.3,cost=0.05"]
        row = results.one(metric="spend", arm=arm, estimand="relative_lift", segment=None)
        ends = (1 + row.ci_low, 1 + row.ci_high)
        assert ends == pytest.approx(expected["ratio_ci_fieller"], rel=1e-4)
        assert row.std_error == pytest.approx(expected["ratio_se_delta"], rel=1e-7)


def test_segments_are_the_analysis_of_their_rows(email, hillstrom):
    import pandas as pd
    from scipy import stats

    _, results, _ = email
    rows = pd.read_csv(hillstrom)
    web = rows[rows.channel == "Web"]
    arm, base = (web.loc[web.treatment == t, "spend"] for t in ("Mens E-Mail", "No E-Mail"))
    row = results.one(metric="spend", arm="Mens E-Mail", estimand="mean_difference",
                      segment="channel", level="Web")  # fmt: skip
    assert row.estimate == pytest.approx(arm.mean() - base.mean(), rel=1e-9)
    assert row.p_value == pytest.approx(
        stats.ttest_ind(arm, base, equal_var=False).pvalue, rel=1e-7
    )
    assert (row.n, row.n_baseline) == (len(arm), len(base))


def test_holm_is_over_all_primary_comparisons(email):
    _, results, _ = email
    for metric in ("visit", "spend"):
        rows = results.where(metric=metric, **DIFFERENCE).rows
        assert [r.p_adjusted for r in rows] == holm([r.p_value for r in rows])
        lifts = results.where(metric=metric, estimand="relative_lift", segment=None).rows
        assert [r.p_adjusted for r in lifts] == [r.p_adjusted for r in rows]
    inside = results.where(metric="visit", estimand="mean_difference", segment="channel").rows
    explored = benjamini_hochberg([r.p_value for r in inside])
    assert [r.p_adjusted for r in inside] == explored


# -- the inputs at which peers fail -------------------------------------------------------------


def test_missing_outcomes_are_an_error_that_says_how_many(write):
    columns = normal()
    columns["x"] = [None if i % 4 == 0 else float(v) for i, v in enumerate(columns["x"])]
    plan, results, verdict = run(write, columns)
    assert [c.text for c in plan.checks if not c.ok] == [
        "100 of 400 values of 'x' are missing: say missing: drop or missing: zero"
    ]
    row = results.one(metric="x", **DIFFERENCE)
    assert row.estimate is row.p_value is None
    assert "100 of 400" in row.note
    assert verdict.decision == "invalid"


def test_missing_outcomes_dropped_leave_the_test_of_the_rest(write):
    """Half of the outcomes missing: the test counts the units that are there, not all."""
    from scipy import stats

    columns = normal()
    keep = np.random.default_rng(1).random(400) < 0.5
    x, arm = columns["x"], columns["arm"]
    columns["x"] = [float(v) if k else None for v, k in zip(x, keep, strict=True)]
    _, results, _ = run(write, columns, [{**X, "missing": "drop"}])
    row = results.one(metric="x", **DIFFERENCE)
    theirs = stats.ttest_ind(x[keep & (arm == "b")], x[keep & (arm == "a")], equal_var=False)
    assert row.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (row.n, row.n_baseline) == ((keep & (arm == "b")).sum(), (keep & (arm == "a")).sum())
    assert results.one(estimand="missing").estimate == 400 - keep.sum()


def test_a_control_mean_near_zero_ends_nothing(write):
    columns = normal(b=0.5)
    inside = columns["arm"] == "a"
    columns["x"][inside] -= columns["x"][inside].mean()
    columns["y"] = columns["x"] + 10
    _, results, _ = run(write, columns, [X, {"name": "y", "kind": "mean"}])
    lift = results.one(metric="x", estimand="relative_lift")
    assert lift.estimate is None
    assert lift.note.startswith("unbounded")
    assert results.one(metric="x", **DIFFERENCE).p_value < 0.01
    assert results.one(metric="y", estimand="relative_lift").estimate > 0


def test_a_negative_baseline_keeps_its_sign(write):
    columns = normal(a=-10.0, b=-8.0)
    _, results, verdict = run(write, columns)
    lift = results.one(metric="x", estimand="relative_lift")
    assert 0 < lift.ci_low < lift.estimate < lift.ci_high
    assert lift.estimate == pytest.approx(0.2, abs=0.03)
    assert verdict.decision == "ship"


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_large_means_are_compared_as_well_as_small_ones(write, offset):
    far = normal(seed=3, b=0.3)
    far["x"] += offset
    near = {**far, "x": far["x"] - offset}
    _, small, _ = run(write, near)
    _, large, _ = run(write, far)
    a, b = (r.one(metric="x", **DIFFERENCE) for r in (small, large))
    assert b.std_error == pytest.approx(a.std_error, rel=1e-9)
    assert b.estimate == pytest.approx(a.estimate, rel=1e-9)
    assert b.p_value == pytest.approx(a.p_value, rel=1e-9)


def test_an_absent_arm_is_a_mismatch_not_a_perfect_split(write):
    split = {"a": 1, "b": 1, "c": 1}
    plan, results, verdict = run(write, normal(b=1.0), design={**DESIGN, "expected_split": split})
    assert [c.text for c in plan.checks if not c.ok] == ["arm 'c' of expected_split has no units"]
    assert results.one(estimand="sample_ratio").p_value < 1e-20
    assert verdict.decision == "invalid"
    row = results.one(metric="x", arm="c", **DIFFERENCE)
    assert row.estimate is None
    assert row.note.startswith("empty_arm")


def test_one_unit_an_arm_has_no_test(write):
    columns = {"arm": ["a", "b"], "x": [1.0, 2.0]}
    _, results, verdict = run(write, columns, privacy={"min_cell": 1})
    row = results.one(metric="x", **DIFFERENCE)
    assert row.p_value is row.ci_low is row.std_error is None
    assert row.note.startswith("too_few_units")
    assert verdict.decision == "invalid"


@pytest.mark.parametrize("values", [(3.0, 3.0), (3.0, 4.0), (0.1, 0.1)])
def test_zero_variance_is_no_certainty(write, values):
    columns = {"arm": ["a", "b"] * 200, "x": list(values) * 200}
    _, results, verdict = run(write, columns)
    row = results.one(metric="x", **DIFFERENCE)
    assert row.estimate == pytest.approx(values[1] - values[0])
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("zero_variance")
    assert verdict.decision == "invalid"


def test_one_arm_is_refused(write):
    with pytest.raises(PlanError, match="one arm only"):
        run(write, {"arm": ["a"] * 50, "x": [1.0] * 50})


def test_units_without_an_arm_make_the_verdict_invalid(write):
    columns = normal(b=2.0)
    columns["arm"] = [None if i < 30 else str(v) for i, v in enumerate(columns["arm"])]
    plan, results, verdict = run(write, columns)
    assert "30 of 400 units have no arm" in next(c for c in plan.checks if not c.ok).text
    assert results.one(estimand="sample_ratio").n == 370
    assert verdict.decision == "invalid"
    assert verdict.reasons[0].code == "no_arm"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_one_infinite_value_takes_its_metric_only(write, value):
    columns = normal(b=1.0)
    columns["y"] = columns["x"].copy()
    columns["y"][7] = value
    plan, results, verdict = run(write, columns, [X, {"name": "y", "kind": "mean"}])
    assert (
        "1 of 400 values of 'y' are infinite or NaN"
        in next(c for c in plan.checks if not c.ok).text
    )
    row = results.one(metric="y", **DIFFERENCE)
    assert row.estimate is row.p_value is None
    assert row.note.startswith("not_finite")
    assert results.one(metric="x", **DIFFERENCE).p_value < 1e-6
    assert verdict.decision == "ship"


def test_a_proportion_of_other_values_is_refused(write):
    columns = normal()
    columns["x"] = np.where(np.arange(400) % 3 == 0, 2, 1)
    _, results, _ = run(write, columns, [{**X, "kind": "proportion"}])
    assert results.one(metric="x", **DIFFERENCE).note.startswith("not_binary: 134 of 400")


def test_few_events_are_said(write):
    columns = normal()
    columns["x"] = (np.arange(400) < 9).astype(int)
    _, results, _ = run(write, columns, [{**X, "kind": "proportion"}])
    assert results.one(metric="x", **DIFFERENCE).note.startswith("few_events")


# -- segments and privacy -----------------------------------------------------------------------


def with_regions(counts, seed=0):
    """counts: region -> units; arms alternate."""
    region = np.repeat(list(counts), list(counts.values()))
    return {**normal(len(region), seed, a=5.0, b=5.0), "region": region}


def test_small_cells_are_suppressed_and_not_recoverable(write):
    columns = with_regions({"n": 300, "s": 200, "t": 60, "tiny": 12})
    _, results, _ = run(write, columns, segments=["region"])
    rows = results.where(metric="x", segment="region")
    for level in ("tiny", "t"):
        for row in rows.where(level=level).rows:
            assert row.estimate is row.n is row.p_value is None
            assert row.note.startswith("suppressed: fewer than 20 units, or hidden with such")
    for level in ("n", "s"):
        assert all(r.estimate is not None for r in rows.where(level=level).rows)


def test_an_arm_below_the_minimum_is_suppressed(write):
    columns = normal(400)
    columns["arm"] = np.array(["a"] * 390 + ["b"] * 10)
    _, results, _ = run(write, columns, design={**DESIGN, "expected_split": {"a": 39, "b": 1}})
    row = results.one(metric="x", **DIFFERENCE)
    assert row.estimate is row.n is None
    assert row.note.startswith("suppressed")
    assert results.one(estimand="units", arm="b").estimate is None
    assert results.one(estimand="sample_ratio").n is None


def test_a_segment_that_the_arm_moved_is_refused(write):
    columns = normal(2000, a=5.0, b=5.0)
    rng = np.random.default_rng(1)
    chance = np.where(columns["arm"] == "b", 0.6, 0.4)
    columns["active"] = np.where(rng.random(2000) < chance, "yes", "no")
    columns["region"] = np.array(["n", "s"])[rng.integers(0, 2, 2000)]
    _, results, _ = run(write, columns, segments=["active", "region"])
    refused = results.where(segment="active", metric="x").rows
    assert all(r.estimate is None and r.note.startswith("post_treatment") for r in refused)
    assert all(r.estimate is not None for r in results.where(segment="region", metric="x").rows)


def test_numbers_as_arms_and_levels_are_text(write):
    columns = normal(b=1.0)
    columns["arm"] = np.where(columns["arm"] == "a", 0, 1)
    columns["tier"] = np.arange(400) // 2 % 2
    design = {"arm": "arm", "control": 0, "expected_split": {0: 1, 1: 1}}
    _, results, verdict = run(write, columns, design=design, segments=["tier"])
    assert verdict.arm == "1"
    levels = results.where(segment="tier", estimand="mean_difference").rows
    assert {r.level for r in levels} == {"0", "1"}


def test_a_small_country_is_not_its_region_less_the_others(write):
    """LI and US are small; DE + FR + LI is the region EU, which is shown."""
    sizes = {"DE": 200, "FR": 120, "LI": 10, "MX": 150, "CA": 90, "US": 12}
    region = {"DE": "EU", "FR": "EU", "LI": "EU", "MX": "AM", "CA": "AM", "US": "AM"}
    columns = with_regions(sizes)
    columns["country"] = columns["region"]
    columns["region"] = np.array([region[c] for c in columns["country"]])
    _, results, _ = run(write, columns, segments=["country", "region"])
    rows = results.where(segment="country", estimand="mean", arm="a").rows
    hidden = {r.level for r in rows if r.n is None}
    assert {"LI", "US"} < hidden
    for area in ("EU", "AM"):
        assert len(hidden & {c for c, r in region.items() if r == area}) >= 2


def test_a_hidden_arm_does_not_show_in_the_sample_ratio(write):
    columns = normal(800)
    columns["arm"] = np.array(["a"] * 400 + ["b"] * 390 + ["c"] * 10)
    columns["y"] = [None] * 30 + [1.0] * 770
    metrics = [X, {"name": "y", "kind": "mean", "missing": "drop"}]
    _, results, _ = run(write, columns, metrics)
    split = results.one(estimand="sample_ratio")
    assert split.estimate is split.n is None
    assert split.p_value == float(f"{split.p_value:.2g}")
    assert all(r.n is None for r in results.where(estimand="missing").rows)


def test_values_missing_in_one_arm_only_are_no_fair_comparison(write):
    columns = normal(a=5.0, b=5.5)
    gone = np.isin(np.arange(400), np.arange(1, 400, 2)[:100])
    columns["x"] = [None if g else float(v) for v, g in zip(columns["x"], gone, strict=True)]
    _, results, verdict = run(write, columns, [{**X, "missing": "drop"}])
    assert results.one(metric="x", **DIFFERENCE).note.startswith("uneven_missing")
    assert verdict.decision == "invalid"


def test_a_ratio_of_a_handful_of_orders_has_no_error(write):
    columns = normal(1000)
    columns["orders"] = np.where(np.arange(1000) % 250 < 2, 1.0, 0.0)
    columns["revenue"] = columns["orders"] * np.where(columns["arm"] == "b", 30.0, 10.0)
    ratio = {"name": "aov", "kind": "ratio", "numerator": "revenue", "denominator": "orders"}
    _, results, verdict = run(write, columns, [{**ratio, "role": "primary"}])
    row = results.one(metric="aov", **DIFFERENCE)
    assert row.estimate == pytest.approx(20.0)
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("few_events: the ratio rests on fewer than 20 units")
    assert verdict.decision == "invalid"


def test_a_secondary_metric_called_primary_is_in_a_family_of_its_own(write):
    columns = {**normal(seed=2, b=0.25), "y": normal(seed=3, b=0.25)["x"]}
    metrics = [X, {"name": "primary", "kind": "mean", "value": "y"}]
    _, results, _ = run(write, columns, metrics)
    for name in ("x", "primary"):
        row = results.one(metric=name, **DIFFERENCE)
        assert row.p_adjusted == row.p_value


def test_faults_travel_with_saved_reductions(write, tmp_path):
    """What made a metric invalid where the rows are makes it invalid where they are not."""
    columns = normal(b=2.0)
    columns["arm"] = [None if i < 30 else str(v) for i, v in enumerate(columns["arm"])]
    columns["x"] = np.where(np.arange(400) % 3 == 0, 2.0, 1.0)
    metrics = [{**X, "kind": "proportion"}]
    plan, _, _ = run(write, columns, metrics)
    rl.reduce(plan).save(tmp_path / "m.parquet")
    path = write(None, name="again", data={"moments": "m.parquet"}, design=DESIGN, metrics=metrics)
    again = rl.plan(path)
    assert [c.ok for c in again.checks].count(False) == 2
    results = rl.analyse(again, rl.reduce(again))
    assert results.one(metric="x", **DIFFERENCE).note.startswith("not_binary")
    assert {r.code for r in rl.decide(again, results).reasons} >= {"no_arm", "primary_no_result"}


def test_one_reduction_does_not_count_twice(write, tmp_path):
    plan, _, _ = run(write, normal())
    for name in ("m1", "m2"):
        rl.reduce(plan).save(tmp_path / f"{name}.parquet")
    path = write(None, name="twice", data={"moments": "m?.parquet"}, design=DESIGN, metrics=[X])
    with pytest.raises(DataError, match="the same reduction twice"):
        rl.reduce(rl.plan(path))


def test_caps_of_the_file_must_be_those_of_the_reductions(write, tmp_path):
    plan, _, _ = run(write, normal(), [{**X, "cap": {"value": 2.0}}])
    rl.reduce(plan).save(tmp_path / "m.parquet")
    capped = [{**X, "cap": {"value": 1.0}}]
    path = write(None, name="capped", data={"moments": "m.parquet"}, design=DESIGN, metrics=capped)
    with pytest.raises(DataError, match="do not fit the file: x"):
        rl.reduce(rl.plan(path))
