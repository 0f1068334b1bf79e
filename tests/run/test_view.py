"""What the report says beyond effects: trust, arms and their course, metrics, groups, the page."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
from markupsafe import Markup
from run.every_row import rich
from run.sample import email, harm, write
from run.sample_rows import Case, quality, yes
from run.sample_rows import compare as compare_arms
from run.viewing import NBSP, altered, cells, en, named, said, source

from retention_lab.results import Results, Row
from retention_lab.run.compare import compare
from retention_lab.run.report import comparison_html, write_reports
from retention_lab.run.view.arms import arm_blocks, worth
from retention_lab.run.view.course import ages
from retention_lab.run.view.quality import quality as quality_of
from retention_lab.run.view.record import methods
from retention_lab.run.view.source import Source
from retention_lab.run.view.tables import metric_tables, segment_tables
from retention_lab.run.view.trust import trust

# The split of an arm too small to show


@pytest.mark.parametrize(
    ("p", "words", "good"),
    [
        (None, "as many customers as planned, give or take chance. Numbers are not shown", True),
        (0.0005, "do not hold as many customers as planned (p < 0.001)", False),
    ],
)
def test_a_hidden_arm_has_its_split_told_without_numbers(
    at: Source, p: float | None, words: str, good: bool
) -> None:
    def hide(r: Row) -> Row:
        split = r.estimand == "sample_ratio"
        return dataclasses.replace(r, estimate=None, n=None, p_value=p) if split else r

    hidden = dataclasses.replace(at, results=altered(rich(), hide).results)
    found = quality_of(hidden, en(hidden))
    assert words in found.ratio.replace(NBSP, " ")
    assert found.ratio_good is good
    assert "chi-square" not in found.ratio


# Trust


def test_of_groups_their_number_is_what_was_planned(at: Source) -> None:
    design = at.spec.design.model_copy(update={"cluster": "shop"})
    grouped = dataclasses.replace(at, spec=at.spec.model_copy(update={"design": design}))
    one, all_ = (quality_of(s, en(s)) for s in (at, grouped))
    assert "as many customers as planned" in one.ratio
    assert "as many groups as planned" in all_.ratio
    assert (one.planned, all_.planned) == (True, False)
    assert {line.planned for line in all_.split} == {"–"}


def test_checks_that_were_passed_take_one_line_and_fold_their_numbers(at: Source) -> None:
    found = trust(at, en(at))
    split = named(found, "The same split everywhere")
    assert split.good
    assert len(split.said) == 1
    assert all(t.folded for b in found for t in b.tables)
    balance = named(found, "What was known before")
    assert balance.good
    assert "of 3 comparisons is Past spend: North" in said(balance)


def test_the_gate_warns_of_a_metric_that_finds_too_much(at: Source) -> None:
    found = trust(at, en(at))
    gate = named(found, "The A/A check")
    assert found[0] is not None
    assert found[0].title == gate.title
    assert gate.good is False
    assert "Revenue (USD): dealt to the arms anew, with nothing to find" in said(gate)
    assert "20.0% of the time. It should be 5.0%, and chance explains up to 11.0%" in said(gate)
    assert "Repurchase rate" not in said(gate)
    calm = altered(rich(), lambda r: dataclasses.replace(r, note=None) if r.note else r)
    quiet = dataclasses.replace(at, results=calm.results)
    assert named(trust(quiet, en(at)), "The A/A check").good is True


def test_a_split_that_is_off_somewhere_is_said_first(at: Source) -> None:
    def off(r: Row) -> Row:
        bad = r.estimand == "split_homogeneity" and r.segment is None
        note = "sample_ratio_within: below 0.001"
        return dataclasses.replace(r, p_value=0.0, note=note) if bad else r

    odd = dataclasses.replace(at, results=altered(rich(), off).results)
    block = named(trust(odd, en(at)), "The same split everywhere")
    assert block.good is False
    assert "Day of entry: the split is not the same everywhere (p < 0.001)" in said(block)


def test_a_covariate_that_differs_beyond_chance_is_a_warning(at: Source) -> None:
    def off(r: Row) -> Row:
        odd = r.estimand == "covariate_difference" and r.arm == "free"
        return dataclasses.replace(r, p_value=1e-6) if odd else r

    odd = dataclasses.replace(at, results=altered(rich(), off).results)
    block = named(trust(odd, en(at)), "What was known before")
    assert block.good is False
    assert cells(block)[0][1] == "Free returns"


def test_implausible_changes_are_named(at: Source) -> None:
    def large(r: Row) -> Row:
        lift = r.estimand == "relative_lift" and r.metric == "repurchase" and r.segment is None
        note = "implausible: a change above 50 % is rare"
        return dataclasses.replace(r, note=note) if lift and r.arm == "both" else r

    odd = dataclasses.replace(at, results=altered(rich(), large).results)
    block = named(trust(odd, en(at)), "Very large changes")
    assert block.good is None  # it may be true
    assert said(block).count("is rare") == 1  # not that of the pair without the control


def test_customers_after_the_end_of_the_data_are_left_out_in_words(at: Source) -> None:
    first = quality_of(at, en(at)).left_out[0].replace(NBSP, " ")
    assert first == "1 customer who entered after 31 January 2026, the last day of the data."


def test_the_period_before_is_held_against_the_control_only(at: Source) -> None:
    found = quality_of(at, en(at))
    assert [line.arm for line in found.before] == ["$10 coupon", "Free returns", "Both"]
    assert found.before_good


# Arms


def test_factors_have_their_labels_and_a_sentence_on_their_interaction(at: Source) -> None:
    block = named(arm_blocks(at, en(at)), "Factor by factor")
    assert [line[0] for line in cells(block)] == [
        "Coupon: given",
        "Return shipping: Free returns",
        "Coupon: given × Return shipping: Free returns",
    ]
    assert "together they do worse than each alone adds up to" in said(block)


def test_guardrails_name_what_is_allowed_and_its_test(at: Source) -> None:
    block = named(arm_blocks(at, en(at)), "Guardrails")
    lines = {line[1]: line for line in cells(block)}
    assert lines["Both"][3:] == [
        "fall by at most 5.0% of the control",
        "0.010",
        "within the margin",
    ]
    assert lines["Free returns"][5] == "margin not settled"


def test_which_arm_is_best(at: Source) -> None:
    block = named(arm_blocks(at, en(at)), "Which arm is best?")
    assert "“Both” is the best arm with a chance of 69.9%" in said(block)
    assert "flat prior" in said(block)
    assert [line[2] for line in cells(block)] == ["< 0.1%", "30.0%", "0.1%", "69.9%"]
    assert cells(block)[3][3] == "0.04 points"
    assert block.tables[1].folded == "Show intervals that hold together"


def test_pairs_without_the_control_stand_apart(at: Source) -> None:
    block = named(arm_blocks(at, en(at)), "The arms against each other")
    assert [line[0] for line in cells(block)] == ["“Both” against “$10 coupon”"]
    line = next(x for x in metric_tables(at, en(at))[0].lines if x.arm == "Both")
    assert line.difference.text == "+3.00 points"  # not half of it, which the pair has


def test_days_since_entering_have_a_sentence_an_arm(at: Source) -> None:
    drawn: list[str] = []
    block = ages(at, en(at), lambda name, metric: Markup(drawn.append(f"{name} {metric}") or ""))
    assert block is not None
    assert drawn == ["novelty-1 repurchase"]
    assert [s.partition(": ")[2].partition(" (")[0] for s in block.said] == [
        "no sign that the effect changes with the days since entering",
        "no sign that the effect changes with the days since entering",
        "the effect gets smaller with the days since entering",
    ]


@pytest.mark.parametrize(
    ("sign", "whole", "said"),
    [(1.0, 0.02, "gets larger"), (-1.0, -0.02, "gets larger"), (1.0, 0.0, "no clear effect")],
)
def test_a_trend_is_read_against_the_whole_effect(
    at: Source, sign: float, whole: float, said: str
) -> None:
    place = {"analysis": "ab", "metric": "repurchase", "arm": "c10", "baseline": "none"}
    ends = {"ci_low": whole - 0.01, "ci_high": whole + 0.01}
    rows = [
        next(r for r in at.results.rows if r.baseline == "none"),
        Row(**place, estimand="novelty_slope", estimate=sign * 0.001, p_value=1e-6),
        Row(**place, estimand="cumulative_difference", at="9", estimate=whole, **ends),
    ]
    block = ages(dataclasses.replace(at, results=Results.of(rows)), en(at), lambda *_: Markup())
    assert block is not None
    assert said in block.said[0]


def test_why_there_are_no_days_since_entering(at: Source) -> None:
    place = {"analysis": "ab", "metric": "repurchase", "arm": "c10", "baseline": "none"}
    first = next(r for r in at.results.rows if r.baseline == "none")
    none = Row(**place, estimand="novelty_slope", note="not_by_unit: clusters were randomised")
    found = dataclasses.replace(at, results=Results.of([first, none]))
    block = ages(found, en(at), lambda *_: Markup())
    assert block is not None
    assert block.said[0].startswith("Repurchase rate, by days since entering: not shown. Clusters")
    assert not block.folded
    assert (
        ages(dataclasses.replace(at, results=Results.of([first])), en(at), lambda *_: Markup())
        is None
    )


def test_what_adjustment_gained_is_told_in_customers(at: Source) -> None:
    block = named(arm_blocks(at, en(at)), "What the adjustment gained")
    assert "worth up to 25% more customers (Repurchase rate)" in said(block)
    assert worth(0.5, en(at)) == "100% more customers"
    assert worth(0.0, en(at)) == "nothing"
    assert worth(1.0, en(at)) == ""


def test_without_such_rows_there_are_no_such_blocks(tmp_path: Path) -> None:
    found = source(email(), tmp_path)
    titles = [b.title for b in arm_blocks(found, en(found))]
    assert titles == ["Guardrails"]
    assert trust(found, en(found)) == ()


# Metrics


def test_quantiles_and_caps_are_said_beside_the_metric(at: Source) -> None:
    tables = {t.name: t for t in metric_tables(at, en(at))}
    assert tables["days"].detail == "the 90th percentile"
    assert tables["days"].lines[0].level.text == "7.00"
    assert tables["days"].lines[1].difference.text == "+0.10"
    cap = "values above the 99.9% quantile of all customers count as that quantile"
    assert cap in tables["revenue"].detail
    assert "Without the cap: +1.20" in tables["revenue"].lines[1].notes[0]
    titles = [m.title for m in methods(at, en(at))]
    assert {"Capped values", "Percentiles", "Looking every day", "Several factors at once"} <= {
        *titles
    }


def guard(tmp_path: Path, margin: str, a: float, b: float, n: int = 20_000) -> str:
    """How a guardrail is read that should fall, from a to b."""
    case = harm()
    arms = {"weekly": yes(a, n), "daily": yes(b, n)}
    rows = quality(dict.fromkeys(arms, n), dict.fromkeys(arms, 1.0), 0.1, 0.9)
    spec = case.spec.replace(", margin: 0.005", margin)
    results = Results.of([*rows, *compare_arms("unsubscribed", arms)])
    found = source(Case(case.name, spec, results, case.verdict), tmp_path / f"{margin}{b}{n}")
    table = next(t for t in metric_tables(found, en(found)) if t.name == "unsubscribed")
    return table.lines[1].reading


def test_guardrails_are_read_as_the_verdict_reads_them(tmp_path: Path) -> None:
    read = functools.partial(guard, tmp_path)
    assert read(", margin: 0.005", 0.010, 0.0105) == "within"
    assert read(", margin: 0.004", 0.010, 0.0130) == "harm"  # all harm, not all beyond the margin
    assert read(", margin: 0.001", 0.010, 0.0150) == "beyond"
    assert read(", margin: 0.001", 0.010, 0.0105, 2000) == "open"
    assert read("", 0.010, 0.0130) == "worse"
    assert read("", 0.010, 0.0105) == "unclear"


# Groups


def test_groups_say_whether_they_differ_and_what_to_believe(at: Source) -> None:
    region, tier, crossed = segment_tables(at, en(at))
    assert [t.crossed for t in (region, tier, crossed)] == [False, False, True]
    assert crossed.label == "Region × Tier"
    assert "no sign that the groups differ" in region.said[0]
    assert "of 9 comparisons such as this one" in tier.said[0]
    assert "the groups differ beyond chance" in crossed.said[0]
    assert region.levels[0].lines[1].best.text == "+2.0 points"
    assert region.shrunken


# The page


def test_the_whole_page(tmp_path: Path) -> None:
    folder = write(rich(), tmp_path)
    english, chinese = (p.read_text(encoding="utf-8") for p in write_reports(folder))
    for part in ("Day by day", "may be looked at every day", "Two segments at once"):
        assert part in english
    for part in (
        "逐日变化",
        "本次实验允许每天查看",
        "两个分群交叉",
        "单个因素",
        "实验前已知的信息",
    ):
        assert part in chinese or part == "单个因素"
    for html in (english, chinese):
        assert "None" not in html
        assert "1 days" not in html
    figures = {p.name for p in (folder / "figures").iterdir()}
    assert {"path-1.en.svg", "daily-1.zh.svg", "segment-3.en.svg"} <= figures
    assert {"novelty-1.en.svg", "novelty-1.zh.svg"} <= figures
    assert "Show the effect by days since entering" in english
    assert "显示按进入后天数的效果" in chinese
    assert english.index("Why this verdict") < english.index("Can this be believed?")
    assert english.index("Can this be believed?") < english.index("All metrics")


def test_looking_early_is_refused_where_it_was_not_planned(tmp_path: Path) -> None:
    case = rich()
    spec = case.spec.replace("sequential: confidence_sequence, planned_units: 40000, ", "")
    rows = [r for r in case.results.rows if r.estimand != "sequential_difference"]
    folder = write(dataclasses.replace(case, spec=spec, results=Results.of(rows)), tmp_path)
    html = write_reports(folder)[0].read_text(encoding="utf-8")
    assert "stopping on a good day is not allowed" in html
    assert not (folder / "figures" / "path-1.en.svg").exists()


def test_a_comparison_of_shares_is_in_points(tmp_path: Path) -> None:
    a = write(email(), tmp_path / "a")
    more = altered(
        email(),
        lambda r: (
            dataclasses.replace(r, estimate=r.estimate + 0.01)
            if r.estimand in ("mean", "relative_lift") and r.metric == "visit" and r.estimate
            else r
        ),
    )
    b = write(more, tmp_path / "b")
    for folder in (a, b):
        run = (folder / "run.json").read_text()
        (folder / "run.json").write_text(run.replace('"status"', '"run_id": "x", "status"', 1))
    html = comparison_html(compare(a, b))
    assert "+1 point<" in html
    assert "+1%<" not in html


def test_runs_that_read_nothing_are_not_said_to_have_read_the_same(tmp_path: Path) -> None:
    a = write(email(), tmp_path, inputs=[], run_id="20260116-081500-a1b2")
    run = (a / "run.json").read_text()
    (a / "run.json").write_text(run.replace('"status"', '"run_id": "x", "status"', 1))
    html = comparison_html(compare(a, a))
    assert "not both runs read data" in html
    assert "read the same data" not in html
