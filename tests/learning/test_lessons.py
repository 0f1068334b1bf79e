from __future__ import annotations

import dataclasses

import pytest
from runs import leave_run

from retention_lab.learning import log, table
from retention_lab.learning.lessons import Change, lessons
from retention_lab.results import Results, Row

INCENTIVE = "incentive: {strategy: rollout, market: market, adopted: opened, period: month}"


def test_a_lesson_says_what_was_asked_and_found(tmp_path):
    lifts = {"c10": (0.12, 0.03), "c20": (0.15, 0.03)}
    leave_run(tmp_path, "coupon", lifts, "ship", "c10")
    (lesson,) = lessons(tmp_path)
    assert (lesson.experiment, lesson.family, lesson.verdict) == ("coupon", "price", "ship")
    assert lesson.title.get("zh") == "a coupon？"
    assert lesson.question.get("en") == "Does a coupon help?"
    assert (lesson.arm, lesson.metric, lesson.lift) == ("c10", "spend", 0.12)
    assert lesson.ci == pytest.approx((0.12 - 0.0588, 0.12 + 0.0588))
    assert [(a.arm, a.lift) for a in lesson.arms] == [("c10", 0.12), ("c20", 0.15)]
    assert lesson.run == "coupon/20260101-000000-aaaa"
    assert lesson.when.startswith("2026-01-01T08:00")
    assert lesson.word("c10", "zh") == "10 美元券"
    assert lesson.word("c_20", "en") == "c 20"
    with pytest.raises(dataclasses.FrozenInstanceError):
        lesson.lift = 1.0


def test_a_loser_is_about_the_arm_of_its_weightiest_reason(tmp_path):
    leave_run(tmp_path, "coupon", {"c20": (-0.1, 0.03), "c10": (0.0, 0.03)}, "stop")
    (lesson,) = lessons(tmp_path)
    assert (lesson.verdict, lesson.arm, lesson.lift) == ("stop", "c20", -0.1)


def test_the_latest_run_of_the_file_as_written_counts(tmp_path):
    for run, lift, record in (
        ("20260101-000000-aaaa", 0.1, {}),
        ("20260102-000000-aaaa", 0.2, {}),
        ("20260103-000000-aaaa", 0.3, {"overrides": {"inference.alpha": "0.1"}}),
        ("20260104-000000-aaaa", 0.4, {"status": "failed"}),
    ):
        leave_run(tmp_path, "coupon", {"c10": (lift, 0.03)}, arm="c10", run=run, **record)
    (lesson,) = lessons(tmp_path)
    assert lesson.lift == 0.2


def test_lessons_stand_newest_first(tmp_path):
    for i, name in enumerate(("b", "c", "a")):
        leave_run(tmp_path, name, {"c10": (0.1, 0.1)}, run=f"2026010{i + 1}-000000-aaaa")
    assert [x.experiment for x in lessons(tmp_path)] == ["a", "c", "b"]


def test_an_invalid_test_teaches_no_effect(tmp_path):
    leave_run(tmp_path, "coupon", {"c10": (0.5, 0.01)}, "invalid")
    found = log(tmp_path)
    (lesson,) = found.lessons
    assert (lesson.verdict, lesson.lift, lesson.ci, lesson.arms) == ("invalid", None, None, ())
    assert found.families == ()


@pytest.mark.parametrize("file", ["run.json", "verdict.json", "spec.yaml"])
@pytest.mark.parametrize("content", [None, "", "{}", "[1]", "\x00"])
def test_a_broken_run_gives_way_to_the_one_before(tmp_path, file, content):
    leave_run(tmp_path, "coupon", {"c10": (0.1, 0.03)}, arm="c10")
    late = leave_run(tmp_path, "coupon", {"c10": (0.2, 0.03)}, run="20260102-000000-bbbb")
    if content is None:
        (late / file).unlink()
    else:
        (late / file).write_text(content)
    (lesson,) = lessons(tmp_path)
    assert lesson.lift == 0.1


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no"])
def test_results_that_cannot_be_read_leave_the_verdict(tmp_path, content):
    folder = leave_run(tmp_path, "coupon", {"c10": (0.1, 0.03)}, arm="c10")
    (folder / "results.parquet").unlink()
    if content is not None:
        (folder / "results.parquet").write_bytes(content)
    (lesson,) = lessons(tmp_path)
    assert (lesson.verdict, lesson.arm, lesson.lift) == ("ship", "c10", None)


def test_an_unbounded_lift_has_no_interval(tmp_path):
    leave_run(tmp_path, "coupon", {"c10": (0.1, None)}, arm="c10")
    (lesson,) = lessons(tmp_path)
    assert (lesson.lift, lesson.ci) == (0.1, None)


def test_no_reports_no_lessons(tmp_path):
    assert lessons(tmp_path) == ()
    assert lessons(tmp_path / "nowhere") == ()


def test_an_incentive_that_nobody_dealt_teaches_its_change(tmp_path):
    """A rollout has no arms, so no lift: its effect is told in the metric's own unit."""
    folder = leave_run(tmp_path, "warehouse", {}, "ship", family="delivery")
    spec = (folder / "spec.yaml").read_text(encoding="utf-8")
    spec = spec.replace("design: {arm: arm, control: none}", INCENTIVE)
    spec = spec.replace("kind: mean", "kind: proportion")
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    effect = {"analysis": "incentive", "metric": "spend", "estimand": "average_effect"}
    Results.of(
        [
            Row(**effect, term="group", estimate=9.0, ci_low=8.0, ci_high=10.0),
            Row(**effect, estimate=0.034, ci_low=0.027, ci_high=0.041),
        ]
    ).save(folder)
    found = log(tmp_path)
    (lesson,) = found.lessons
    assert (lesson.verdict, lesson.lift, lesson.arm) == ("ship", None, None)
    assert lesson.change == Change(0.034, (0.027, 0.041), "proportion")
    assert "+3.40 points (+2.70 to +4.10)" in str(table(found, "en")).replace("\u00a0", " ")
    assert found.families == ()
