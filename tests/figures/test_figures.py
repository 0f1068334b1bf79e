"""Plots: what they draw, that they are pure, and that their SVG is the same everywhere."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from figures.drawing import (
    Plot,
    drawn,
    given_axes_are_returned_and_a_figure_is_made_without,
    same_svg_everywhere,
    spec_of,
    words,
)
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from run.every_row import rich
from run.sample import coupon, email, harm, mismatch

from retention_lab.figures import (
    arms_plot,
    daily_plot,
    effect_plot,
    novelty_plot,
    path_plot,
    segment_plot,
    split_plot,
    style,
)
from retention_lab.figures.novelty import age_rows
from retention_lab.figures.paths import course_rows, first_clear
from retention_lab.figures.style import blank_axes, colours, ems, wrap
from retention_lab.figures.svg import standalone, svg_text
from retention_lab.results import Results, Row

PLOTS = (effect_plot, segment_plot, arms_plot, split_plot, path_plot, daily_plot, novelty_plot)


def verticals(ax: Axes) -> set[float]:
    """Where vertical strokes stand."""
    found = set()
    for collection in ax.collections:
        for path in collection.get_paths():
            (x0, y0), (x1, y1) = path.vertices[0], path.vertices[-1]
            if len(path.vertices) == 2 and x0 == x1 and y0 != y1:
                found.add(float(x0))
    return found


def faces(ax: Axes) -> set[str]:
    """Colours that the dots are filled with."""
    dots = [c for c in ax.collections if len(c.get_offsets()) > 1]
    return {to_hex(colour) for c in dots for colour in c.get_facecolor()}


@pytest.mark.parametrize("plot", PLOTS)
def test_plots_change_nothing_but_the_axes(plot: Plot) -> None:
    case = rich()
    given_axes_are_returned_and_a_figure_is_made_without(plot, case)
    assert case.results == rich().results


def test_every_arm_is_labelled_with_its_effect() -> None:
    shown = words(drawn(effect_plot, email(), metric="visit"))
    assert " ".join(shown[:2]) == "Visit rate (two weeks): relative change from “No e-mail”"
    assert {"Men's e-mail", "+72.1% (+64.1 to +80.7)", "Women's e-mail"} <= set(shown)
    assert "+42.6% (+35.6 to +50.0)" in shown
    assert "no difference" in shown


def test_chinese_labels_and_values() -> None:
    shown = words(drawn(effect_plot, email(), language="zh"))
    assert {"男装邮件", "+72.1%（+64.1 至 +80.7）", "无差异"} <= set(shown)


def test_zero_line_and_margin_stand_at_their_values() -> None:
    ax = drawn(effect_plot, email(), metric="unsubscribed", estimand="mean_difference")
    assert {0.0, 0.005} <= verticals(ax)
    assert "allowed: +0.50 points" in words(ax)
    assert 0.005 not in verticals(drawn(effect_plot, email(), metric="unsubscribed"))


def test_a_margin_of_a_primary_metric_is_what_is_worth_having() -> None:
    case = email()
    spec = case.spec.replace(
        "proportion, role: primary}", "proportion, role: primary, margin: 0.1}"
    )
    changed = dataclasses.replace(case, spec=spec)
    ax = drawn(effect_plot, changed, metric="visit", estimand="mean_difference")
    assert 0.1 in verticals(ax)
    assert any(w.startswith("worth having") for w in words(ax))


def test_a_hollow_dot_includes_no_difference() -> None:
    ax = drawn(effect_plot, coupon(), metric="repurchase_30d")
    assert faces(ax) == {"#ffffff"}
    ax = drawn(effect_plot, email(), metric="visit")
    assert faces(ax) == {"#0072b2", "#d55e00"}


def test_a_ratio_is_plotted_by_its_own_estimand() -> None:
    shown = words(drawn(effect_plot, email(), metric="spend_per_visit", estimand="mean_difference"))
    assert "Men's e-mail" in shown
    assert "+1.6 (−0.3 to +3.5)" in shown


def test_an_effect_without_an_estimate_says_why() -> None:
    shown = words(drawn(effect_plot, harm(), metric="big_spender"))
    assert "all values are the same" in shown


def test_an_open_interval_ends_in_an_arrow() -> None:
    row = Row(
        analysis="ab",
        metric="visit",
        estimand="relative_lift",
        arm="Mens E-Mail",
        baseline="No E-Mail",
        estimate=0.5,
        ci_low=0.1,
    )
    ax = effect_plot([row], spec_of(email()), ax=blank_axes())
    assert ">" in {line.get_marker() for line in ax.lines}
    assert "+50.0% (+10.0 to no bound)" in words(ax)


def test_nothing_to_show_is_said() -> None:
    for plot in PLOTS:
        ax = plot(Results.of([]), spec_of(email()), ax=blank_axes())
        assert "Nothing to show" in words(ax)


def test_segments_keep_their_order_and_say_what_is_hidden() -> None:
    shown = words(drawn(segment_plot, email(), segment="history_segment"))
    levels = [w for w in shown if w[1:2] == ")"]
    assert levels == sorted(levels)
    assert len(levels) == 7
    hidden = "hidden, too small or next to a small one"
    assert shown[shown.index("7) $1,000 +") + 1] == hidden
    assert "22,970 customers" in shown


def test_levels_of_all_arms() -> None:
    shown = words(drawn(arms_plot, email()))
    assert {"No e-mail", "10.62% (10.20 to 11.03)"} <= set(shown)


def test_split_against_plan() -> None:
    ax = drawn(split_plot, mismatch())
    assert "10,211 (51.8%; planned 50.0%)" in words(ax)
    assert [p.get_width() for p in ax.patches] == [10211, 9488]


def test_groups_that_were_randomised_plan_no_number_of_customers() -> None:
    case = mismatch()
    design = spec_of(case).design.model_copy(update={"cluster": "shop"})
    grouped = spec_of(case).model_copy(update={"design": design})
    ax = split_plot(case.results, grouped, ax=blank_axes())
    assert "10,211 (51.8%)" in words(ax)
    assert not any("planned" in w for w in words(ax))
    assert not ax.get_lines()


def test_hidden_arms_are_not_drawn_as_empty() -> None:
    rows = [
        Row(analysis="quality", estimand="units", arm="No E-Mail", estimate=500, n=500),
        Row(analysis="quality", estimand="units", arm="Mens E-Mail", note="suppressed: too few"),
    ]
    shown = words(split_plot(rows, spec_of(email()), ax=blank_axes()))
    assert "hidden, too few customers" in shown
    assert not any("100.0%" in w for w in shown)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("plot", PLOTS)
def test_an_svg_is_the_same_every_time_and_on_every_machine(
    plot: Plot, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = same_svg_everywhere(lambda: drawn(plot, coupon(), language=language), monkeypatch)
    assert "DejaVu" not in first
    assert "date" not in first
    assert "<metadata" not in first


def test_text_stays_text_and_markup_is_escaped() -> None:
    case = mismatch()
    svg = svg_text(drawn(segment_plot, case))
    tree = ET.fromstring(svg)
    texts = [e.text for e in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "<img src=x onerror=alert(3)>" in texts
    assert "<script" not in svg
    assert not list(tree.iter("{http://www.w3.org/2000/svg}script"))
    zh = svg_text(drawn(effect_plot, email(), language="zh"))
    assert ">男装邮件<" in zh


def test_dollar_signs_are_not_mathematics() -> None:
    assert "1) $0 - $100" in svg_text(drawn(segment_plot, email(), segment="history_segment"))


def test_an_svg_describes_itself_and_its_ids_do_not_clash() -> None:
    a, b = (svg_text(drawn(effect_plot, email()), name) for name in ("one", "two"))
    assert 'role="img" aria-labelledby="one-title"' in a
    assert "+72.1% (+64.1 to +80.7)</title>" not in a
    title = ET.fromstring(a).find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert "Men's e-mail; +72.1% (+64.1 to +80.7)" in str(title.text)
    ids = [{e.get("id") for e in ET.fromstring(s).iter() if e.get("id")} for s in (a, b)]
    assert ids[0].isdisjoint(ids[1])


def test_a_file_of_its_own_names_its_fonts() -> None:
    svg = standalone(svg_text(drawn(effect_plot, email())))
    assert svg.startswith("<?xml")
    assert "PingFang SC" in svg
    ET.fromstring(svg)


def test_arms_keep_their_colours_and_control_is_grey() -> None:
    tint = colours(["no", *map(str, range(8))])
    assert tint["no"] == style.CONTROL
    assert len(set(tint.values())) == 7


def test_wrapping_counts_wide_characters_and_keeps_marks_with_their_words() -> None:
    assert ems("优惠券") == 3
    lines = wrap("满 49 美元免运费，并附创始人亲笔感谢卡，感谢老客户", 10, 3)
    assert all(ems(line) <= 10 for line in lines)
    assert not any(line.startswith("，") for line in lines)
    assert wrap("word " * 30, 10)[-1].endswith("…")
    assert wrap("", 10) == [""]


def test_ticks_have_room() -> None:
    for scale in (1e-6, 1.0, 1e9):
        rows = [
            dataclasses.replace(
                r,
                estimate=(r.estimate or 0) * scale,
                ci_low=(r.ci_low or 0) * scale,
                ci_high=(r.ci_high or 0) * scale,
            )
            for r in email().results.where(metric="spend", estimand="mean_difference").rows
        ]
        ax = effect_plot(rows, spec_of(email()), "spend", "mean_difference", ax=blank_axes())
        ticks = [t.get_text() for t in ax.texts if t.get_gid() == "tick"]
        assert 2 <= len(ticks) <= 7
        assert len(set(ticks)) == len(ticks)


def test_pairs_without_the_control_are_not_drawn_as_effects() -> None:
    shown = words(drawn(effect_plot, rich(), metric="repurchase", estimand="mean_difference"))
    assert shown.count("Both") == 1
    assert any(w.startswith("+3.0") for w in shown)


def test_quantiles_are_drawn_too() -> None:
    shown = words(drawn(effect_plot, rich(), metric="days", estimand="mean_difference"))
    assert {"$10 coupon", "Free returns", "Both"} <= set(shown)
    assert "7.00 (6.61 to 7.39)" in words(drawn(arms_plot, rich(), metric="days"))


def test_a_relative_margin_stands_on_the_relative_scale() -> None:
    ax = drawn(effect_plot, rich(), metric="margin")
    assert -0.05 in verticals(ax)
    assert -0.05 not in verticals(
        drawn(effect_plot, rich(), metric="margin", estimand="mean_difference")
    )


def test_groups_are_drawn_shrunk_with_a_mark_of_the_raw_number() -> None:
    ax = drawn(segment_plot, rich(), segment="region", estimand="shrunken_difference")
    assert "Repurchase rate by Region: best estimate" in " ".join(words(ax))
    assert {0.01, 0.03} <= {round(x, 6) for x in verticals(ax)}  # the raw ones
    assert any(w.startswith("+2.0") for w in words(ax))


def test_a_path_marks_the_day_on_which_the_band_left_no_difference() -> None:
    rows = course_rows(rich().results, "sequential_difference", "repurchase")
    assert list(rows) == ["c10", "free", "both"]
    clear = first_clear(rows["both"])
    assert clear is not None
    assert clear.at == "2026-01-02"
    assert first_clear(rows["free"]) is None
    shown = words(drawn(path_plot, rich()))
    assert shown.count("clear of no difference from 2 Jan") == 1
    assert {"28 Dec", "8 Jan"} <= set(shown)
    zh = words(drawn(path_plot, rich(), language="zh"))
    assert "自 1 月 2 日起排除“无差异”" in zh


def test_days_without_an_interval_are_drawn_as_far_as_they_go() -> None:
    row = Row(
        analysis="ab",
        metric="repurchase",
        estimand="daily_difference",
        arm="both",
        baseline="none",
        at="2026-01-01",
        estimate=0.1,
    )
    for plot, rows in ((daily_plot, [row]), (path_plot, [row])):
        ax = plot(rows, spec_of(rich()), ax=blank_axes())
        assert svg_text(ax)


def test_days_since_entering_stand_in_two_charts_an_arm() -> None:
    rows = age_rows(rich().results, "day_difference", "repurchase")
    assert list(rows) == ["c10", "free", "both"]
    assert [r.at for r in rows["both"]] == [str(k) for k in range(1, 10)]
    shown = words(drawn(novelty_plot, rich()))
    assert shown.count("Each day") == shown.count("All days so far") == 3
    assert {"day 1", "day 5", "day 9"} <= set(shown)
    assert any(w.startswith("+4.45 points") for w in shown)  # all days so far of the last arm
    assert "第 9 天" in words(drawn(novelty_plot, rich(), language="zh"))


def test_weeks_since_entering_are_drawn_in_their_middle() -> None:
    at = {"analysis": "ab", "metric": "repurchase", "arm": "both", "baseline": "none"}
    rows = [
        Row(**at, estimand="day_difference", at=f"{7 * i + 1}-{7 * i + 7}", estimate=0.1)
        for i in (1, 0, 5)
    ]
    assert [r.at for r in age_rows(rows, "day_difference", "repurchase")["both"]] == [
        "1-7",
        "8-14",
        "36-42",
    ]
    ax = novelty_plot(rows, spec_of(rich()), ax=blank_axes())
    assert "day 42" in words(ax)
    assert svg_text(ax)


def test_what_a_user_wrote_is_not_tidied() -> None:
    name = 'font-family: big; id="x"'
    case = email()
    spec = case.spec.replace('en: "Men\'s e-mail"', f"en: '{name}'")
    svg = svg_text(drawn(effect_plot, dataclasses.replace(case, spec=spec)), "one")
    texts = [e.text for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert name in texts
