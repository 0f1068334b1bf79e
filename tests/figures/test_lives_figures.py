"""Plots of survival rows: what they draw, in which order, and what they say where there is none."""

from __future__ import annotations

import dataclasses
import itertools
import math
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from figures import drawing
from figures.drawing import (
    Plot,
    given_axes_are_returned_and_a_figure_is_made_without,
    same_svg_everywhere,
    spec_of,
    words,
)
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from run.cohort_rows import BASE
from run.cohort_sample import cohorts, lively, rivals
from run.sample_rows import Case

from retention_lab.figures import (
    hazard_plot,
    incidence_plot,
    ratio_plot,
    repeat_plot,
    retention_plot,
    share_plot,
    style,
    survival_plot,
)
from retention_lab.figures.chart import Chart, day_ticks, stepped
from retention_lab.figures.groups import groups_of
from retention_lab.figures.hazard import early
from retention_lab.figures.incidence import ratio_rows, times
from retention_lab.figures.style import blank_axes
from retention_lab.figures.svg import svg_text
from retention_lab.figures.triangle import hatching, shade, triangle
from retention_lab.results import Results, Row

MARKETS = tuple(f"M{i}" for i in range(9))
PLOTS = (
    survival_plot,
    hazard_plot,
    repeat_plot,
    incidence_plot,
    retention_plot,
    ratio_plot,
    share_plot,
)


def case_of(plot: Plot) -> Case:
    return rivals() if plot is incidence_plot else cohorts()


def drawn(plot: Plot, case: Case | None = None, **wanted: Any) -> Axes:
    return drawing.drawn(plot, case or case_of(plot), **wanted)


def of(rows: list[Row], plot: Plot, **wanted: Any) -> Axes:
    return plot(rows, spec_of(cohorts()), ax=blank_axes(), **wanted)


def row(estimand: str, estimate: float | None = None, **more: Any) -> Row:
    return Row(**{**BASE, **more}, estimand=estimand, estimate=estimate)


def curve(level: str, values: dict[int, float], n: int = 1000) -> list[Row]:
    rows = [row("customers", n, segment="market", level=level, n=n)]
    place: dict[str, Any] = {"segment": "market", "level": level}
    return rows + [row("survival", s, at=str(d), n=n - d, **place) for d, s in values.items()]


def polygons(ax: Axes) -> list[tuple[str, Any]]:
    return [
        (to_hex(colour), path.vertices)
        for c in ax.collections
        if isinstance(c, PolyCollection)
        for path, colour in zip(c.get_paths(), c.get_facecolor(), strict=False)
    ]


@pytest.mark.parametrize("plot", PLOTS)
def test_plots_change_nothing_but_the_axes(plot: Plot) -> None:
    given_axes_are_returned_and_a_figure_is_made_without(plot, case_of(plot))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("plot", PLOTS)
def test_an_svg_is_the_same_every_time_and_on_every_machine(
    plot: Plot, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = same_svg_everywhere(lambda: drawn(plot, language=language), monkeypatch)
    assert len(first) < 80_000


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_to_show_is_said(plot: Plot) -> None:
    assert "Nothing to show" in words(of([], plot))
    assert "没有可显示的内容" in words(of([], plot, language="zh"))


def test_curves_rise_and_the_milestones_are_one_minus_the_survival() -> None:
    shown = words(drawn(survival_plot))
    rows = cohorts().results.where(estimand="survival", segment=None).rows
    by_90 = [r for r in rows if int(r.at or 0) <= 90][-1]
    assert f"{100 * (1 - (by_90.estimate or 0)):.0f}%" in shown
    lines = [c for c in drawn(survival_plot).collections if isinstance(c, LineCollection)]
    (path,) = next(c for c in lines if c.get_linewidth()[0] == 2.2).get_paths()
    x, y = path.vertices[:, 0], path.vertices[:, 1]
    assert (x[1:] >= x[:-1]).all()
    assert (y[1:] <= y[:-1]).all()  # the axis counts lines of text downwards


def test_numbers_at_risk_are_those_just_before_the_next_event() -> None:
    rows = curve("Spain", {10: 0.9, 30: 0.8, 65: 0.5})
    shown = words(of(rows, survival_plot, segment="market"))
    at_risk = shown[shown.index("Customers still observed without the event so far (at risk):") :]
    assert at_risk[1] == "Spain"
    assert at_risk[2:7] == ["1,000", "970", "970", "935", "935"]


def test_a_long_name_stands_above_its_numbers_at_risk_and_a_short_one_beside_them() -> None:
    long = "Rest of the year, January to September"

    def lines(*names: str) -> dict[str, float]:
        rows = [r for name in names for r in curve(name, {10: 0.9, 65: 0.5})]
        ax = of(rows, survival_plot, segment="market")
        found = [(t.get_text().replace("\u00a0", " "), t.get_position()) for t in ax.texts]
        start = [text for text, _ in found].index(
            "Customers still observed without the event so far (at risk):"
        )
        at = dict(reversed(found[start:]))
        numbers = max(x for text, (x, _) in found[start:] if text[0].isdigit())
        assert all(at[n][0] > numbers + 0.03 or at[n][1] < at["1,000"][1] for n in names[:1])
        return {**{n: at[n][1] for n in names}, "numbers": at["1,000"][1]}

    short = lines("A", "B")
    assert short["A"] == short["numbers"]
    apart = lines(long, "B")
    assert apart[long] < apart["numbers"] - 0.7
    assert apart["B"] > apart["numbers"] + 0.7


def test_the_reference_is_grey_and_every_curve_is_labelled_where_it_ends() -> None:
    groups, many = groups_of(cohorts().results, spec_of(cohorts()), "survival", "promotion", "en")
    assert [(g.label, g.colour) for g in groups] == [
        ("All others", style.CONTROL),
        ("Autumn sale", style.PALETTE[0]),
    ]
    assert many == 2
    shown = words(drawn(survival_plot, segment="promotion"))
    assert shown.count("Autumn sale") == 2  # at the curve, and in the table at risk


def test_of_many_groups_the_largest_are_drawn_and_that_is_said() -> None:
    rows = [r for i in range(9) for r in curve(f"M{i}", {30: 0.9}, 100 + i)]
    rows += curve("(other)", {30: 0.9}, 9999)
    ax = of(rows, survival_plot, segment="market")
    assert "Of 10 groups, the 6 largest that stand alone are drawn." in words(ax)
    assert "M8" in words(ax)
    assert {"M2", "all other groups"} & set(words(ax)) == set()


def test_arms_are_drawn_with_the_control_first() -> None:
    groups, _ = groups_of(lively().results, spec_of(lively()), "survival", None, "en")
    assert [g.name for g in groups] == ["none", "c10", "c20"]
    assert "days since entering the test" in words(drawn(survival_plot, lively()))


def test_labels_keep_apart_however_close_the_curves_are() -> None:
    rows = [r for i in range(6) for r in curve(f"M{i}", {30: 0.5 + i / 1000}, 100 + i)]
    ax = of(rows, survival_plot, segment="market")
    heights = sorted(t.get_position()[1] for t in ax.texts if t.get_text() in MARKETS)
    assert len(heights) == 12  # beside the curves, and in the table at risk
    assert min(b - a for a, b in itertools.pairwise(heights)) > 0.7


def test_the_cliff_is_marked_with_the_share_of_events_before_it() -> None:
    rows = [row("survival", s, at=str(d), n=90) for d, s in ((10, 0.8), (30, 0.7), (100, 0.5))]
    spec = spec_of(cohorts())
    assert early(rows, spec) == (pytest.approx(0.6), 100)
    rows += [row("hazard", 0.01, at=f"{d}-{d + 6}", n=90) for d in range(1, 60, 7)]
    shown = " ".join(words(of(rows, hazard_plot)))
    assert "By day 30: 60% of all who came back within 100 days" in shown
    assert early(rows[:2], spec) is None
    assert early([], spec) is None
    assert "day 30" not in " ".join(words(of(rows[3:5], hazard_plot)))


def test_bins_of_a_few_customers_do_not_set_the_height_of_a_hazard() -> None:
    rows = [row("hazard", 0.01, at=f"{d}-{d}", n=1000) for d in range(1, 30)]
    rows.append(Row(**BASE, estimand="hazard", at="30-30", estimate=0.5, ci_high=1.0, n=2))
    assert "0.75%" in words(of(rows, hazard_plot))
    assert "50%" not in words(of(rows, hazard_plot))


def test_a_triangle_is_empty_where_immature_and_hatched_where_suppressed() -> None:
    place: dict[str, Any] = {"segment": "cohort", "term": "n_day"}
    rows = [
        row("retention", 0.3, at="30", level="2025-02", n=50, **place),
        row("retention", 0.1, at="60", level="2025-02", n=50, **place),
        row("retention", at="30", level="2025-01", note="suppressed: fewer than 20", **place),
        row("retention", at="60", level="2025-01", note="immature: too young", **place),
        row("retention", 0.25, at="30", term="n_day", n=70),
    ]
    ax = of(rows, retention_plot)
    shown = words(ax)
    assert [w for w in shown if w in ("All customers", "Jan 2025", "Feb 2025")] == [
        "All customers",
        "Jan 2025",
        "Feb 2025",
    ]
    assert {"30", "25", "10"} <= set(shown)
    assert " ".join(shown).endswith(
        "Hatched: hidden, fewer than 20 customers, or beside such a group."
    )
    cells = [colour for colour, box in polygons(ax) if len(box) >= 4]
    assert len(cells) == 4  # three numbers and one hatched; the immature one is not there
    assert len({shade(1.0), shade(1 / 3), shade(0.25 / 0.3)} & set(cells)) == 3
    assert "Hatched" not in " ".join(words(of(rows[:2], retention_plot)))


def test_what_a_note_says_of_cells_with_a_number_stands_below_them_once() -> None:
    note = "follow_up_differs: later cohorts were observed for less long"
    place: dict[str, Any] = {"segment": "cohort", "term": "unbounded", "note": note}
    rows = [row("retention", 0.3, at="30", level=f"2025-0{i}", n=50, **place) for i in (1, 2)]
    said = " ".join(words(of(rows, retention_plot)))
    assert said.count("ater cohorts were observed for less long") == 1
    assert "All customers" not in said


def test_with_competing_events_curves_are_of_what_came_first() -> None:
    case = rivals()
    shown = words(drawn(survival_plot, case))
    rows = case.results.where(estimand="cumulative_incidence", segment=None, term="orders").rows
    by_90 = [r for r in rows if int(r.at or 0) <= 90][-1]
    naive = words(drawn(survival_plot))
    assert f"{100 * (by_90.estimate or 0):.0f}%" in shown
    assert "before any “Refunds”" in " ".join(shown)
    assert shown != naive
    assert early(case.results, spec_of(case)) != early(cohorts().results, spec_of(cohorts()))
    promotion = words(drawn(survival_plot, case, segment="promotion"))
    assert promotion.count("Autumn sale") == 2


def test_a_triangle_takes_the_kind_that_is_asked_for_and_sorts_ages_as_numbers() -> None:
    place: dict[str, Any] = {"segment": "market", "level": "Spain"}
    rows = [row("retention", 0.1, at=a, term="n_day", **place) for a in ("90", "7", "365")]
    rows += [row("retention", 0.1, at="0-6", term="bracket", **place)]
    found = triangle(rows, "market", "n_day")
    assert found is not None
    assert found.ages == ("7", "90", "365")
    assert (triangle(rows, "market") or found).term == "bracket"
    assert triangle(rows, "cohort") is None
    many = [row("retention", 0.1, at=str(a), term="n_day", **place) for a in range(1, 30)]
    assert "The first 12 ages are drawn." in " ".join(
        words(of(many, retention_plot, segment="market"))
    )


def test_a_long_name_of_a_triangle_takes_lines_and_none_of_its_words_is_cut() -> None:
    place: dict[str, Any] = {"segment": "market", "term": "n_day", "n": 50}
    name = "Customers of the marketplace in the north"
    rows = [
        row("retention", 0.1, at=a, level=x, **place) for a in ("7", "30") for x in (name, "Ulm")
    ]
    ax = of(rows, retention_plot, segment="market")
    shown = words(ax)
    cut = [w for w in shown if "…" in w or w in name]
    assert " ".join(cut) == name
    assert len(cut) == 3
    tall = {round(max(y) - min(y), 2) for _, box in polygons(ax) if len(box) >= 4
            for y in [[corner[1] for corner in box]]}  # fmt: skip
    assert tall == {1.25, 2.95}


def test_a_triangle_has_one_hue_and_its_numbers_can_be_read() -> None:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    shades = [light(shade(i / 20)) for i in range(21)]
    assert shades == sorted(shades, reverse=True)
    for i, at in enumerate(shades):
        ink = 1.0 if i / 20 > 0.6 else light(style.INK)
        high, low = max(ink, at), min(ink, at)
        assert (high + 0.05) / (low + 0.05) > 3.4, i / 20


def test_hatching_stays_inside_its_cell() -> None:
    lines = hatching(0.4, 10.0, 0.05)
    assert len(lines) >= 3
    for ends in lines:
        for x, y in ends:
            assert 0.4 - 1e-9 <= x <= 0.45 + 1e-9
            assert 10.0 - 1e-9 <= y <= 11.25 + 1e-9


def test_outcomes_are_stacked_and_labelled_with_their_last_share() -> None:
    rows = [
        row("cumulative_incidence", value, at=day, term=cause, n=100)
        for day, cause, value in (
            ("10", "orders", 0.2),
            ("10", "refunds", 0.05),
            ("40", "orders", 0.5),
            ("50", "refunds", 0.1),
        )
    ]
    ax = of(rows, incidence_plot)
    shown = " ".join(words(ax))
    assert "“Orders” first: 50.0%" in shown
    assert "“Refunds” first: 10.0%" in shown
    tops = [min(y for _, y in box) for colour, box in polygons(ax) if colour in style_hexes()]
    assert tops == sorted(tops, reverse=True)


def style_hexes() -> set[str]:
    return {to_hex(c) for c in style.PALETTE}


def test_ratios_stand_on_an_axis_of_doublings() -> None:
    rows = [
        row("log_hazard_ratio", x, term=t, ci_low=x - 0.1, ci_high=x + 0.1)
        for t, x in (("market=Spain", -math.log(2)), ("market=Germany", math.log(2)))
    ]
    ax = of(rows, ratio_plot)
    assert "0.50 (0.45 to 0.55)" in words(ax)
    assert {"Market: Spain", "Market: Germany"} <= set(words(ax))
    ticks = {t.get_text() for t in ax.texts if t.get_gid() == "tick"}
    assert {"0.5", "1", "2"} <= ticks
    none = dataclasses.replace(rows[0], estimate=None, note="monotone: for ever")
    assert "penalised" in words(of([none], ratio_plot))
    assert times(1e9) == times(50.0)


def test_the_model_of_everyone_is_drawn_once() -> None:
    terms = [r.term for r in ratio_rows(cohorts().results)]
    assert terms == ["market=Germany", "market=Spain", "promotion=autumn_sale"]


def test_months_are_in_the_order_of_time() -> None:
    rows = [row("returning_revenue_share", 0.11 * i, at=f"2025-0{i}") for i in (3, 1, 2)]
    shown = words(of(rows, share_plot))
    assert [w for w in shown if w in ("11%", "22%", "33%")] == ["11%", "22%", "33%"]
    assert "Jan 2025" in shown
    assert "2025 年 1 月" in words(of(rows, share_plot, language="zh"))


def test_steps_too_small_to_see_are_joined_and_none_is_lost() -> None:
    pairs = [(float(d), d / 1e5) for d in range(1001)]
    found = stepped(pairs, 1000.0, 1.0)
    assert len(found) < 12
    assert found[0] == (0.0, 0.0)
    assert found[-1] == (1000.0, 0.01)
    assert stepped([(0.0, 0.0), (5.0, 0.5)], 9.0, 1.0) == [
        (0.0, 0.0),
        (5.0, 0.0),
        (5.0, 0.5),
        (9.0, 0.5),
    ]
    assert stepped([], 9.0, 1.0) == []


def test_days_on_an_axis_are_round() -> None:
    assert day_ticks(365) == [0, 90, 180, 270, 360]
    assert day_ticks(30) == [0, 5, 10, 15, 20, 25, 30]
    assert day_ticks(1) == [0, 1]
    assert Chart(0, (0.0, 0.0), 1.0).x(0.0) == 0.1


def test_text_stays_text_and_markup_is_escaped() -> None:
    name = "<img src=x onerror=alert(1)> $x$"
    svg = svg_text(
        of(curve(name, {10: 0.5}) + curve("B", {10: 0.6}), survival_plot, segment="market")
    )
    texts = [e.text or "" for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert any("<img" in t for t in texts)
    assert "<img" not in svg


def test_results_are_not_changed() -> None:
    before = Results.of(cohorts().results.rows)
    for plot in PLOTS:
        drawn(plot)
    assert cohorts().results == before
