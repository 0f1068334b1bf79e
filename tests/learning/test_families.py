"""Pooled effects against arithmetic by hand and against ab/pool.py's own tested numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from runs import leave_run

from retention_lab.experiment.spec import Translated
from retention_lab.learning import ArmEffect, Lesson, log, write
from retention_lab.learning.families import families


def test_experiments_of_a_family_are_pooled(tmp_path):
    """Equal effects: tau is 0 and the mean is weighted by 1 / error^2."""
    for i, error in enumerate((0.1, 0.2, 0.2)):
        leave_run(tmp_path, f"e{i}", {"c10": (0.3, error)}, ("ship", "stop", "keep_running")[i])
    (family,) = log(tmp_path).families
    assert (family.name, family.metric, family.pooled.k) == ("price", "spend", 3)
    assert family.pooled.mean == pytest.approx(0.3)
    assert family.pooled.std_error == pytest.approx(1 / math.sqrt(100 + 25 + 25))
    assert family.pooled.predict_low is not None
    assert set(family.experiments) == {"e0", "e1", "e2"}


def test_arms_of_one_experiment_count_as_one(tmp_path):
    leave_run(tmp_path, "e", {"c10": (0.1, 0.02), "c20": (0.3, 0.04)})
    (family,) = log(tmp_path).families
    assert (family.pooled.k, family.pooled.mean) == (1, pytest.approx(0.2))
    assert family.pooled.std_error == pytest.approx(0.03)
    assert [(x.arm, x.seen) for x in family.effects] == [("c10", 0.1), ("c20", 0.3)]


def test_metrics_do_not_mix_and_some_name_no_family(tmp_path):
    leave_run(tmp_path, "a", {"c10": (0.1, 0.02)}, metric="spend")
    leave_run(tmp_path, "b", {"c10": (0.1, 0.02)}, metric="visit")
    leave_run(tmp_path, "c", {"c10": (0.1, 0.02)}, family=None)
    found = log(tmp_path)
    assert len(found.lessons) == 3
    assert [(f.name, f.metric, f.pooled.k) for f in found.families] == [
        ("price", "spend", 1),
        ("price", "visit", 1),
    ]


def test_capitals_and_spaces_do_not_make_another_family(tmp_path):
    for i, name in enumerate(("price incentive", "Price  Incentive ", "Price incentive", "PRICE")):
        leave_run(tmp_path, f"e{i}", {"c10": (0.1, 0.05), "c20": (0.2, 0.05)}, family=name)
    found = log(tmp_path)
    assert [f.pooled.k for f in found.families] == [1, 3]
    whole = found.families[1]
    assert whole.name == next(x for x in found.lessons if x.experiment in whole.experiments).family
    members = [x for x in found.lessons if x.experiment in whole.experiments]
    assert all(found.worth(x) is not None for x in members if x.arm is not None)


@pytest.mark.parametrize("lift", [(None, None), (0.1, None), (0.1, 0.0)])
def test_effects_without_an_error_are_left_out(tmp_path, lift):
    leave_run(tmp_path, "a", {"c10": lift})
    leave_run(tmp_path, "b", {"c10": (0.2, 0.02), "c20": lift})
    (family,) = log(tmp_path).families
    assert (family.pooled.k, family.pooled.mean) == (1, pytest.approx(0.2))
    assert family.experiments == ("b",)


def test_the_winner_is_drawn_to_its_family(tmp_path):
    for i, lift in enumerate((0.02, 0.03, 0.05, 0.30)):
        leave_run(tmp_path, f"e{i}", {"c10": (lift, 0.08)}, arm="c10")
    found = log(tmp_path)
    (family,) = found.families
    winner = next(x for x in found.lessons if x.experiment == "e3")
    worth = found.worth(winner)
    assert worth.seen == 0.30
    assert family.pooled.mean < worth.worth < 0.30
    assert worth.low < worth.worth < worth.high


def test_few_effects_are_not_drawn_together(tmp_path):
    leave_run(tmp_path, "a", {"c10": (0.02, 0.05)}, arm="c10")
    leave_run(tmp_path, "b", {"c10": (0.40, 0.05)}, arm="c10")
    found = log(tmp_path)
    assert found.families[0].note.startswith("not_shrunk")
    assert found.worth(found.lessons[0]) is None


def test_a_discounted_winner_is_nearer_to_the_truth():
    """The largest of eight lifts, in 400 simulated families: error and bias get smaller."""
    rng = np.random.default_rng(20260101)
    seen, worth = [], []
    for _ in range(400):
        truths = rng.normal(0.05, 0.03, 8)
        lifts = truths + rng.normal(0.0, 0.06, 8)
        best = int(np.argmax(lifts))
        (family,) = families([lesson(f"e{i}", float(lift), 0.06) for i, lift in enumerate(lifts)])
        seen.append(lifts[best] - truths[best])
        worth.append(family.effects[best].worth - truths[best])
    assert np.mean(np.square(worth)) < 0.5 * np.mean(np.square(seen))
    assert abs(np.mean(worth)) < 0.5 * np.mean(seen)


def lesson(experiment: str, lift: float, error: float) -> Lesson:
    return Lesson(
        experiment=experiment,
        title=Translated(en=experiment),
        question=Translated(en=""),
        family="price",
        verdict="keep_running",
        arm="c10",
        metric="spend",
        lift=lift,
        ci=(lift - 2 * error, lift + 2 * error),
        when="2026-01-01",
        run=f"{experiment}/20260101-000000-aaaa",
        arms=(ArmEffect("c10", lift, error, None),),
    )


def test_the_log_as_a_file(tmp_path):
    leave_run(tmp_path, "a", {"c10": (0.1, 0.02)}, arm="c10")
    leave_run(tmp_path, "b", {"c10": (None, None)}, "invalid")
    path = write(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "learning.json"
    assert content["schema"] == 1
    lesson = next(x for x in content["lessons"] if x["experiment"] == "a")
    assert (lesson["arm"], lesson["lift"], lesson["title"]["zh"]) == ("c10", 0.1, "a coupon？")
    assert lesson["words"]["c10"] == {"en": "$10 coupon", "zh": "10 美元券"}
    assert lesson["arms"][0]["std_error"] == 0.02
    assert content["families"][0]["pooled"]["k"] == 1
    assert (
        write(tmp_path, log(tmp_path)).read_text(encoding="utf-8")
        == json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    )


def test_an_empty_log_as_a_file(tmp_path):
    content = json.loads(write(tmp_path).read_text(encoding="utf-8"))
    assert content == {"schema": 1, "lessons": [], "families": []}
