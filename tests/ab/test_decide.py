"""The verdict: each rule, from rows made by hand."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import pytest

from retention_lab.ab.decide import decide
from retention_lab.experiment.load import validate
from retention_lab.experiment.plan import Plan
from retention_lab.results import Results, Row

MAIN = {"name": "back", "kind": "proportion", "role": "primary"}
GUARD = {"name": "left", "kind": "proportion", "role": "guardrail", "direction": "decrease"}


def plan(*metrics, arms=("a", "b", "c")):
    spec = validate(
        {
            "schema": 1,
            "name": "trial",
            "title": "T",
            "data": {"units": "x.csv"},
            "design": {"arm": "arm", "control": "a"},
            "metrics": list(metrics),
        }
    )
    fields = dict.fromkeys(f.name for f in dataclasses.fields(Plan))
    return Plan(
        **{**fields, "spec": spec, "arms": arms, "checks": (), "faults": MappingProxyType({})}
    )


def effect(metric, arm, low, high, p=None):
    p = p if p is not None else (0.001 if low > 0 or high < 0 else 0.4)
    middle = (low + high) / 2
    common = {"analysis": "ab", "metric": metric, "arm": arm, "baseline": "a", "p_value": p,
              "p_adjusted": p}  # fmt: skip
    return [
        Row(estimand="mean_difference", estimate=middle, ci_low=low, ci_high=high, **common),
        Row(estimand="relative_lift", estimate=middle * 10, ci_low=low * 10, ci_high=high * 10,
            **common),
    ]  # fmt: skip


def nothing(metric, arm, note="too_few_units: x"):
    return [Row(analysis="ab", metric=metric, estimand="mean_difference", arm=arm, baseline="a",
                note=note)]  # fmt: skip


def verdict(metrics, *rows, arms=("a", "b", "c")):
    flat = [r for group in rows for r in (group if isinstance(group, list) else [group])]
    found = decide(plan(*metrics, arms=arms), Results.of(flat))
    return found.decision, found.arm, [r.code for r in found.reasons]


UP, MORE, DOWN, FLAT = (0.01, 0.03), (0.02, 0.06), (-0.04, -0.01), (-0.01, 0.02)


def test_the_better_of_two_arms_ships():
    found = verdict([MAIN], effect("back", "b", *UP), effect("back", "c", *MORE))
    assert found == ("ship", "c", ["primary_better", "primary_better"])


def test_less_is_better_where_the_file_says_so():
    metric = {**MAIN, "direction": "decrease"}
    rows = [effect("back", "b", *DOWN), effect("back", "c", *FLAT)]
    assert verdict([metric], *rows)[:2] == ("ship", "b")


def test_nothing_clear_keeps_running():
    found = verdict([MAIN], effect("back", "b", *FLAT), effect("back", "c", *FLAT))
    assert found == ("keep_running", None, ["primary_unclear", "primary_unclear", "ended_unclear"])


def test_the_adjusted_p_value_decides():
    rows = [dataclasses.replace(r, p_value=0.03, p_adjusted=0.06) for r in effect("back", "b", *UP)]
    assert verdict([MAIN], rows, arms=("a", "b"))[0] == "keep_running"


def test_a_reason_tells_the_plain_from_the_adjusted_p_value():
    rows = [dataclasses.replace(r, p_value=0.03, p_adjusted=0.06) for r in effect("back", "b", *UP)]
    reason, _ended = decide(plan(MAIN, arms=("a", "b")), Results.of(rows)).reasons
    assert (reason.numbers["p_value"], reason.numbers["p_adjusted"]) == (0.03, 0.06)


def test_all_arms_worse_stops():
    found = verdict([MAIN], effect("back", "b", *DOWN), effect("back", "c", *DOWN))
    assert found == ("stop", None, ["primary_worse", "primary_worse"])


def test_one_arm_worse_and_one_open_keeps_running():
    assert (
        verdict([MAIN], effect("back", "b", *DOWN), effect("back", "c", *FLAT))[0] == "keep_running"
    )


def test_an_effect_worth_having_out_of_reach_stops():
    found = verdict([{**MAIN, "margin": 0.05}], effect("back", "b", *FLAT), arms=("a", "b"))
    assert found == ("stop", None, ["no_worthwhile_effect"])


def test_a_harmed_guardrail_stops_a_winner():
    rows = [effect("back", "b", *UP), effect("left", "b", 0.01, 0.02)]
    found = verdict([MAIN, GUARD], *rows, arms=("a", "b"))
    assert found == ("stop", None, ["primary_better", "guardrail_harmed"])


@pytest.mark.parametrize(
    ("interval", "decision", "code"),
    [
        ((-0.002, 0.004), "ship", "guardrail_kept"),
        ((-0.002, 0.006), "keep_running", "guardrail_unclear"),
        ((0.001, 0.004), "ship", "guardrail_kept"),
        ((0.001, 0.009), "stop", "guardrail_harmed"),
    ],
)
def test_a_guardrail_with_margin_is_a_test_of_non_inferiority(interval, decision, code):
    rows = [effect("back", "b", *UP), effect("left", "b", *interval)]
    found = verdict([MAIN, {**GUARD, "margin": 0.005}], *rows, arms=("a", "b"))
    assert (found[0], found[2][1]) == (decision, code)


def test_a_guardrail_without_result_holds_a_winner_back():
    rows = [effect("back", "b", *UP), nothing("left", "b")]
    found = verdict([MAIN, GUARD], *rows, arms=("a", "b"))
    assert found == ("keep_running", None, ["primary_better", "guardrail_unclear", "ended_unclear"])


def test_the_other_arm_ships_where_one_harms():
    rows = [effect("back", "b", *UP), effect("back", "c", *MORE)]
    rows += [effect("left", "b", -0.01, 0.01), effect("left", "c", 0.01, 0.02)]
    assert verdict([MAIN, GUARD], *rows)[:2] == ("ship", "b")


def test_a_broken_split_is_invalid_whatever_the_effect():
    split = Row(analysis="ab", estimand="sample_ratio", estimate=40.0, p_value=1e-9)
    found = verdict([MAIN], split, effect("back", "b", *UP), arms=("a", "b"))
    assert found == ("invalid", None, ["sample_ratio_mismatch", "primary_better"])


def covariate(p, term="age", arm="b"):
    return Row(analysis="quality", metric="back", estimand="covariate_difference", term=term,
               arm=arm, baseline="a", estimate=1.0, std_error=0.2, p_value=p)  # fmt: skip


def test_a_covariate_that_differs_is_invalid_at_one_in_a_thousand_of_all_comparisons():
    effects = effect("back", "b", *UP)
    found = verdict([MAIN], effects, covariate(1e-5), arms=("a", "b"))
    assert found == ("invalid", None, ["covariate_differs", "primary_better"])
    assert verdict([MAIN], effects, covariate(0.002), arms=("a", "b"))[0] == "ship"
    several = [covariate(0.0005, f"x{i}") for i in range(10)]
    assert verdict([MAIN], effects, *several, arms=("a", "b"))[0] == "ship"
    again = [covariate(0.0005)] * 10  # ten metrics that share a covariate
    assert verdict([MAIN], effects, *again, arms=("a", "b"))[0] == "invalid"


def test_a_primary_metric_without_result_is_invalid():
    found = verdict([MAIN], nothing("back", "b"), arms=("a", "b"))
    assert found[0] == "invalid"
    assert "primary_no_result" in found[2]


def test_waiting_units_are_a_reason():
    late = Row(analysis="quality", metric="back", estimand="immature", estimate=12.0, n=100)
    found = verdict([MAIN], late, effect("back", "b", *FLAT), arms=("a", "b"))
    assert found == ("keep_running", None, ["primary_unclear", "immature"])


def test_a_test_of_one_look_that_is_over_and_unclear_has_ended():
    """Nobody's window is open: to let it run on would be to look again."""
    over = Row(analysis="quality", metric="back", estimand="immature", estimate=0.0, n=100)
    found = verdict([MAIN], over, effect("back", "b", *FLAT), arms=("a", "b"))
    assert found == ("keep_running", None, ["primary_unclear", "ended_unclear"])
    waiting = dataclasses.replace(over, metric="left", estimate=3.0)
    rows = [waiting, effect("back", "b", *FLAT), effect("left", "b", -0.01, 0.01)]
    assert "ended_unclear" not in verdict([MAIN, GUARD], *rows, arms=("a", "b"))[2]
    later = Row(analysis="quality", estimand="later", estimate=5.0)
    found = verdict([MAIN], later, effect("back", "b", *FLAT), arms=("a", "b"))
    assert found == ("keep_running", None, ["primary_unclear"])


def test_a_test_that_may_be_looked_at_again_has_not_ended():
    looked = plan(MAIN, arms=("a", "b"))
    spec = looked.spec.model_copy(
        update={"inference": looked.spec.inference.model_copy(update={"sequential": True})}
    )
    found = decide(dataclasses.replace(looked, spec=spec), Results.of(effect("back", "b", *FLAT)))
    assert (found.decision, found.ended) == ("keep_running", False)


def test_primary_metrics_are_the_first_reasons():
    rows = [effect("left", "b", -0.01, 0.01), effect("back", "b", *FLAT)]
    codes = verdict([{**GUARD, "margin": 0.001}, MAIN], *rows, arms=("a", "b"))[2]
    assert codes[0] == "primary_unclear"


def test_the_first_metric_is_primary_where_none_says_so():
    first = {k: v for k, v in MAIN.items() if k != "role"}
    other = {"name": "spend", "kind": "mean"}
    rows = [effect("back", "b", *FLAT), effect("spend", "b", *UP)]
    assert verdict([first, other], *rows, arms=("a", "b"))[0] == "keep_running"


def test_an_effect_below_the_margin_is_not_worth_shipping():
    """Better beyond doubt, and certainly by less than what the file calls worth having."""
    found = verdict([{**MAIN, "margin": 0.5}], effect("back", "b", *UP), arms=("a", "b"))
    assert found == ("stop", None, ["no_worthwhile_effect"])
    found = verdict([{**MAIN, "margin": 0.02}], effect("back", "b", *UP), arms=("a", "b"))
    assert found[0] == "ship"


def test_one_hopeless_primary_does_not_stop_another_that_is_open():
    other = {"name": "spend", "kind": "mean", "role": "primary"}
    rows = [effect("back", "b", *FLAT), effect("spend", "b", *FLAT)]
    found = verdict([{**MAIN, "margin": 0.05}, other], *rows, arms=("a", "b"))
    assert found[0] == "keep_running"


def test_a_guardrail_is_never_the_primary_metric():
    guard, other = GUARD, {"name": "spend", "kind": "mean"}
    rows = [effect("left", "b", *DOWN), effect("spend", "b", *FLAT)]
    assert verdict([guard, other], *rows, arms=("a", "b"))[0] == "keep_running"


def test_a_guardrail_that_nobody_touched_is_kept():
    nobody = Row(analysis="ab", metric="left", estimand="mean_difference", arm="b", baseline="a",
                 estimate=0.0, note="zero_variance: every unit has the same value")  # fmt: skip
    found = verdict([MAIN, GUARD], effect("back", "b", *UP), nobody, arms=("a", "b"))
    assert found == ("ship", "b", ["primary_better", "guardrail_kept"])
