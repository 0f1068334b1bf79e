"""Plots of an incentive's rows: what they draw, and what they say where there is nothing."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
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
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from run.incentive_sample import alike, doses, ledger_rows, limit, markets, redeemed, row
from run.sample_rows import Case

from retention_lab.experiment.load import parse, validate
from retention_lab.figures import (
    balance_plot,
    dose,
    dose_plot,
    effects_plot,
    event_study_plot,
    forward_plot,
    ledger_plot,
    margin_plot,
    overlap_plot,
    profits_plot,
    sensitivity_plot,
    style,
    threshold_plot,
)
from retention_lab.figures.ledger import ledger_of, waterfall
from retention_lab.figures.observed import differences
from retention_lab.figures.plane import Plane, around, usual
from retention_lab.figures.style import blank_axes
from retention_lab.results import Row

PLOTS: dict[Plot, Callable[[], Case]] = {
    ledger_plot: redeemed,
    margin_plot: doses,
    profits_plot: doses,
    effects_plot: alike,
    balance_plot: alike,
    overlap_plot: alike,
    sensitivity_plot: alike,
    event_study_plot: markets,
    threshold_plot: limit,
    dose_plot: doses,
    forward_plot: redeemed,
}


def drawn(plot: Plot, **wanted: Any) -> Axes:
    return drawing.drawn(plot, PLOTS[plot](), **wanted)


@pytest.mark.parametrize("plot", PLOTS)
def test_plots_change_nothing_but_the_axes(plot: Plot) -> None:
    given_axes_are_returned_and_a_figure_is_made_without(plot, PLOTS[plot]())


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("plot", PLOTS)
def test_an_svg_is_the_same_every_time_and_its_text_is_text(
    plot: Plot, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = same_svg_everywhere(lambda: drawn(plot, language=language), monkeypatch)
    assert len(first) < 120_000
    said = "".join(ET.fromstring(first).itertext())
    assert all(w.strip() in said for w in words(drawn(plot, language=language))[:1])


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_to_show_is_said(plot: Plot) -> None:
    spec = spec_of(PLOTS[plot]())
    for language, text in (("en", "Nothing to show"), ("zh", "没有可显示的内容")):
        assert text in words(plot([], spec, language=language, ax=blank_axes()))


def test_the_steps_of_the_ledger_add_up_to_the_profit() -> None:
    rows = ledger_of(redeemed().results, "coupon")
    steps = waterfall(rows, spec_of(redeemed()))
    assert [name for name, _ in steps] == [
        "revenue", "goods", "returns", "contact", "redemption", "profit",
    ]  # fmt: skip
    *parts, (_, profit) = steps
    assert sum(v for _, v in parts) == pytest.approx(profit)
    assert profit == rows["incremental_profit"].estimate


def test_a_loss_is_drawn_left_of_nothing_and_a_ledger_without_margin_is_not_drawn() -> None:
    case = doses()
    ax = ledger_plot(case.results, spec_of(case), arm="twenty", ax=blank_axes())
    bars = [
        c.get_paths()[0].vertices[:, 0]
        for c in ax.collections
        if isinstance(c, PolyCollection) and to_hex(c.get_facecolor()[0]) == "#0072b2"
    ]
    zero = ledger_plot(case.results, spec_of(case), arm="five", ax=blank_axes())
    gains = [
        c.get_paths()[0].vertices[:, 0]
        for c in zero.collections
        if isinstance(c, PolyCollection) and to_hex(c.get_facecolor()[0]) == "#0072b2"
    ]
    assert bars[0][0] > bars[0][1]
    assert gains[0][0] < gains[0][1]
    rows = [r for r in ledger_rows("coupon", "none") if r.estimand != "incremental_margin"]
    spec = spec_of(redeemed())
    assert "Nothing to show" in words(ledger_plot(rows, spec, ax=blank_axes()))


def test_margin_per_dollar_stands_beside_what_is_wanted() -> None:
    shown = words(drawn(margin_plot))
    assert "wanted: 1.2" in shown
    assert "1: breaks even" in shown
    assert "1.57 (1.24 to 1.91)" in shown


def test_a_ratio_without_a_finite_interval_says_why() -> None:
    note = "cost_not_above_zero: the incremental cost is not clearly above 0"
    rows = [row("margin_per_dollar", None, arm="coupon", baseline="none", note=note)]
    shown = words(margin_plot(rows, spec_of(redeemed()), ax=blank_axes()))
    assert "no finite interval" in shown
    assert "区间无界" in words(
        margin_plot(rows, spec_of(redeemed()), language="zh", ax=blank_axes())
    )


def test_covariates_come_with_the_largest_difference_first_and_in_the_readers_words() -> None:
    rows = alike().results.where(estimand="standardised_difference").rows
    found = differences(rows, "coupon")
    sizes = [abs(before or 0.0) for _, before, _ in found]
    assert sizes == sorted(sizes, reverse=True)
    shown = words(drawn(balance_plot))
    assert "Months as a customer" in shown
    assert "Channel: Web" in shown
    assert "Past orders: missing" in shown
    many = [dataclasses.replace(r, term=f"x{i}") for i in range(20) for r in rows[:2]]
    text = " ".join(words(balance_plot(many, spec_of(alike()), ax=blank_axes())))
    assert "The 14 largest of 20." in text


def test_the_line_where_nothing_is_left_is_drawn_only_where_it_is_reached() -> None:
    assert "no effect is left" in words(drawn(sensitivity_plot))
    rows = [
        r
        for r in alike().results.where(estimand="sensitivity_contour").rows
        if (r.estimate or 0) > 0
    ]
    text = words(sensitivity_plot(rows, spec_of(alike()), ax=blank_axes()))
    assert "no effect is left" not in text


def test_before_the_start_is_grey_and_the_limit_is_marked() -> None:
    ax = drawn(event_study_plot)
    faces = [to_hex(c) for s in ax.collections for c in s.get_facecolor()]
    assert style.CONTROL.lower() in faces
    assert style.PALETTE[0].lower() in faces
    assert {"−6", "0", "+8"} <= set(words(ax))
    assert "limit 49" in words(drawn(threshold_plot))


def test_the_best_dose_is_marked_and_a_dose_has_its_tick() -> None:
    shown = words(drawn(dose_plot))
    assert "best: 6.8" in shown
    assert {"0", "5", "10", "20"} <= set(shown)


def test_profits_stand_by_dose_beside_that_of_the_control() -> None:
    case = doses()
    shown = words(drawn(profits_plot))
    rows = [r for r in case.results.rows if r.estimand == "profit_at_dose"]
    ordered = sorted(rows, key=lambda r: float(r.at or 0))
    arms = ["No coupon", "$5 coupon", "$10 coupon", "$20 coupon"]
    assert [w for w in shown if w in arms] == [*arms, "No coupon"]  # the last one is the line's
    assert shown[shown.index("$5 coupon") + 1] == "3.40 (3.20 to 3.60)"
    ax = drawn(profits_plot)
    marks = next(c for c in ax.collections if len(c.get_offsets()) == len(ordered))
    found = [float(x) for x, _ in marks.get_offsets()]
    assert found == [pytest.approx(r.estimate) for r in ordered]
    control = next(r for r in ordered if r.arm == spec_of(case).design.control)  # type: ignore[union-attr]
    upright = [
        float(path.vertices[0][0])
        for c in ax.collections
        for path in c.get_paths()
        if len(path.vertices) == 2 and path.vertices[0][0] == path.vertices[1][0]
    ]
    assert control.estimate in [pytest.approx(x) for x in upright]


def test_a_chart_keeps_what_lies_outside_within_and_cuts_wide_intervals() -> None:
    plane = Plane(0.0, (0.0, 1.0), (0.0, 1.0))
    assert plane.y(7.0) == plane.top
    assert plane.x(-3.0) == plane.left
    assert around([2.0, 4.0])[0] < 0 < around([2.0, 4.0])[1]
    assert around([]) == pytest.approx((-0.56, 0.56))
    ends = usual([(-1.0, 1.0), (-1.0, 1.0), (-500.0, 500.0)])
    assert max(ends) == pytest.approx(4.0)


def test_rows_without_numbers_break_no_plot() -> None:
    empty = {
        plot: tuple(
            Row(analysis=r.analysis, metric=r.metric, estimand=r.estimand, arm=r.arm,
                baseline=r.baseline, term=r.term, at=r.at, note="no_overlap: nobody is alike")
            for r in make().results.rows
        )
        for plot, make in PLOTS.items()
    }  # fmt: skip
    for plot, rows in empty.items():
        assert words(plot(rows, spec_of(PLOTS[plot]()), ax=blank_axes()))


def test_points_of_the_profit_are_not_joined_and_the_best_dose_is_named_below_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    colours = []
    monkeypatch.setattr(dose, "curve", lambda *a, **k: colours.append(a[3]))
    ax = drawn(dose_plot)
    assert colours
    assert style.PALETTE[2] not in colours
    best = next(t for t in ax.texts if t.get_text() == "best: 6.8")
    assert best.get_position()[1] > max(t.get_position()[1] for t in ax.texts if t is not best)


def test_a_metric_as_covariate_says_that_it_was_before_also_where_it_is_cut() -> None:
    case = alike()
    rows = [row("standardised_difference", 0.2, term="orders_30d pre", at=at, arm="coupon",
                baseline="none") for at in ("before", "after")]  # fmt: skip
    long = case.spec.replace("Repurchase within 30 days", "Repurchase rate " * 8)
    assert long != case.spec
    for text in (case.spec, long):
        shown = words(balance_plot(rows, validate(*parse(text)), ax=blank_axes()))
        assert any(w.endswith(", before") for w in shown)
