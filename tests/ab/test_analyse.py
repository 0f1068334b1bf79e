"""From rows to the result table: real data, several arms and segments, privacy, reductions."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from trial import DESIGN, DIFFERENCE, X, normal, run

import retention_lab as rl
from retention_lab.errors import DataError
from retention_lab.multiplicity import benjamini_hochberg, holm

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
    rows = pd.read_parquet(hillstrom)
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


@pytest.mark.parametrize("few", [5, 10])
@pytest.mark.parametrize(("planned", "p_value"), [(1.0, 0.0005), (0.01, None)])
def test_a_hidden_arm_does_not_show_in_the_sample_ratio(write, few, planned, p_value):
    """Whatever its size, the same is told: that the split is off, or nothing."""
    columns = normal(800)
    columns["arm"] = np.array(["a"] * 400 + ["b"] * (400 - few) + ["c"] * few)
    columns["y"] = [None] * 30 + [1.0] * 770
    metrics = [X, {"name": "y", "kind": "mean", "missing": "drop"}]
    design = {**DESIGN, "expected_split": {"a": 1.0, "b": 1.0, "c": planned}}
    _, results, _ = run(write, columns, metrics, design=design)
    split = results.one(estimand="sample_ratio")
    assert split.estimate is split.n is None
    assert split.p_value == p_value
    assert all(r.n is None for r in results.where(estimand="missing").rows)


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
