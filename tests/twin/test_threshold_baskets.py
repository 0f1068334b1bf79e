"""The simulated free-shipping limit: its truth, its file, and a crowd that the lab must see."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import yaml
from shop_files import EXPERIMENTS, content

import retention_lab as rl
from retention_lab.data.datasets import locate
from retention_lab.experiment.load import load
from retention_lab.incentives.threshold.measure import measure
from retention_lab.twin.limits import FREE_SHIPPING, LIMITS, SORTED, Limit
from retention_lab.twin.threshold import CHANNELS, simulate_limit, truth_of_limit

NAME = "free-shipping-threshold"
LIMIT = 4.5  # standard errors


def column(baskets, name):
    return baskets.tables["baskets"][name].to_numpy(zero_copy_only=False)


def planned(folder, scenario):
    """The shipped file on baskets made for the test."""
    shop = simulate_limit(scenario).write(folder / "shop")
    said = content(NAME)
    said["data"]["units"] = str(shop / "baskets.parquet")
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(said, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return rl.plan(path)


def test_the_same_seed_gives_the_same_baskets():
    few = dataclasses.replace(FREE_SHIPPING, baskets=500)
    a, b, c = (simulate_limit(few, s).tables["baskets"] for s in (1, 1, 2))
    assert a.equals(b)
    assert not a.equals(c)
    with pytest.raises(ValueError, match="seed is -1"):
        simulate_limit(few, -1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"effect": 0.9}, "a probability"), ({"sorters": 2}, "a share"), ({"shape": 0}, "above 0")],
)
def test_numbers_that_make_no_shop_are_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        Limit("x", **changed)


def test_the_truth_is_that_of_very_many_baskets_at_the_limit():
    """Baskets within half a dollar: their means differ by the truth and hardly anything else."""
    baskets = simulate_limit(dataclasses.replace(FREE_SHIPPING, baskets=2_000_000), seed=5)
    x, true = column(baskets, "basket_value"), baskets.truth()["threshold_effect"]
    near = np.abs(x - 49) < 0.5
    above = x >= 49
    for metric, effect in true.items():
        y = column(baskets, metric).astype(float)
        a, b = y[near & above], y[near & ~above]
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean() - effect) < LIMIT * error + 0.02 * effect, metric
    assert column(baskets, "free_shipping").tolist() == above.tolist()


def test_customers_sort_only_in_the_other_scenario():
    counts = {}
    for scenario in (FREE_SHIPPING, SORTED):
        made = simulate_limit(scenario)
        x, before = column(made, "basket_value"), column(made, "orders_before").astype(float)
        counts[scenario.name] = ((x >= 45) & (x < 49)).sum(), ((x >= 49) & (x < 53)).sum()
        p = measure(x, before, 49.0).jump.robust.p_value
        assert (p < 0.01) == (scenario is SORTED)
    assert counts[FREE_SHIPPING.name][0] == pytest.approx(counts[FREE_SHIPPING.name][1], rel=0.06)
    assert counts[SORTED.name][1] > 2 * counts[SORTED.name][0]
    assert truth_of_limit(SORTED)["sorted"]


def test_the_dataset_is_made_with_its_truth(tmp_path, monkeypatch):
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(tmp_path))
    assert LIMITS == {"twin-threshold": FREE_SHIPPING}
    path = locate("twin-threshold/baskets")
    truth = json.loads((path.parent / "truth.json").read_text(encoding="utf-8"))
    assert truth["threshold_effect"] == truth_of_limit(FREE_SHIPPING)["threshold_effect"]
    assert truth["seed"] == FREE_SHIPPING.seed
    assert locate("twin-threshold") == path


def test_every_word_of_the_report_is_translated():
    spec = load(EXPERIMENTS / f"{NAME}.yaml")
    names = {spec.family, spec.incentive.running, *spec.incentive.columns, *CHANNELS}
    assert set(spec.report.labels) == names | {m.name for m in spec.metrics}
    for text in (*spec.report.labels.values(), spec.title, spec.question):
        assert text.en
        assert text.zh
        assert text.zh != text.en
    assert spec.incentive.cutoff == FREE_SHIPPING.cutoff
    text = (EXPERIMENTS / f"{NAME}.yaml").read_text(encoding="utf-8")
    assert str(FREE_SHIPPING.seed) in text


def test_the_shipped_file_finds_the_truth_and_stops(tmp_path):
    plan = planned(tmp_path, FREE_SHIPPING)
    results = rl.analyse_incentive(plan, rl.reduce_incentive(plan))
    for metric, effect in truth_of_limit(FREE_SHIPPING)["threshold_effect"].items():
        row = results.one(estimand="threshold_effect", metric=metric, term=None)
        assert abs(row.estimate - effect) < 3 * row.std_error
    tests = results.where(estimand=("covariate_jump", "placebo_cutoff", "density_test")).rows
    assert len(tests) == 6 + 6 + 1
    assert min(r.p_value for r in tests) > 0.01
    verdict = rl.decide_incentive(plan, results)
    assert verdict.decision == "stop"
    assert [r.code for r in verdict.reasons] == ["incentive_loses"]


def test_sorted_baskets_are_seen_and_never_shipped(tmp_path):
    plan = planned(tmp_path, dataclasses.replace(SORTED, baskets=20_000))
    results = rl.analyse_incentive(plan, rl.reduce_incentive(plan))
    assert results.one(estimand="density_test").p_value < 1e-6
    assert rl.decide_incentive(plan, results).decision != "ship"
