"""Rows of an incentive's ledger in; the way from revenue to profit, and margin per dollar, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.collections import PolyCollection

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arm_item
from retention_lab.figures.forest import Group, Line, round_ticks, strokes, write
from retention_lab.figures.incentive_rows import arm_name, incentive_rows, ledger_arms, tints
from retention_lab.figures.plane import Plane, around, ground, plain, upright_zero
from retention_lab.figures.sheet import forest_sheet, sheet
from retention_lab.figures.style import ALERT, INK, MUTED, SMALL, Table
from retention_lab.results import Row
from retention_lab.texts import say
from retention_lab.texts.incentive import ratio_measure
from retention_lab.texts.numbers import digits_of_spread, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLUS, MINUS = "#009E73", "#D55E00"
PROFIT = "#0072B2"
STEPS = ("revenue", "goods", "returns", "contact", "redemption", "profit")
BAR = 0.62
LABEL = 0.36  # part of the width that the steps' names take
VALUE = 0.13  # and the values


def ledger_plot(
    results: Table, spec: Spec, arm: str | None = None, language: str = "en", ax: Axes | None = None
) -> Axes:
    """The way from the revenue that the incentive brought to the profit, per customer of `arm`.

    Without `arm`, that of the first arm with a ledger. The profit's interval is a line over its
    bar. Without `ax`, a new pyplot figure is made.
    """
    rows = ledger_of(results, arm)
    steps = waterfall(rows, spec)

    def draw(axes: Axes, y: float) -> float:
        return _waterfall(axes, steps, rows["incremental_profit"], y, language)

    chosen = next((r.arm for r in rows.values()), arm)
    title = say(language, "figure.ledger", arm=arm_name(spec, chosen, language))
    return sheet(ax, title, language, draw if steps else None)


def ledger_of(results: Table, arm: str | None = None) -> dict[str, Row]:
    """The lines of one arm's ledger by estimand; empty where there is none."""
    arms = ledger_arms(results)
    if arm is None and arms:
        arm = arms[0]
    revenue = next(
        (r.metric for r in incentive_rows(results, "incremental_profit", arm=arm, term=None)), None
    )
    names = (
        "incremental_revenue",
        "incremental_returns",
        "incremental_margin",
        "cost_contact",
        "cost_redemption",
        "incremental_cost",
        "incremental_profit",
        "margin_per_dollar",
        "roi",
        "probability_above_min_roi",
        "break_even_cost",
        "revenue_ratio",
        "redemption_rate",
        "control_redemption_rate",
        "redeemed_anyway",
    )
    rows = incentive_rows(results, names, arm=arm, term=None, metric=revenue)
    return {r.estimand: r for r in rows}


def waterfall(rows: dict[str, Row], spec: Spec) -> list[tuple[str, float]]:
    """What every step adds (below 0: takes away), the last one being the profit itself.

    Goods' cost is the revenue that is no margin; of what was sent back the goods come back too.
    """
    revenue, profit = rows.get("incremental_revenue"), rows.get("incremental_profit")
    margin = rows.get("incremental_margin")
    known = [r for r in (revenue, profit, margin) if r is not None and r.estimate is not None]
    share = spec.incentive.margin if spec.incentive is not None else None
    if len(known) < 3 or share is None or revenue is None or profit is None:
        return []
    brought = revenue.estimate or 0.0
    steps = [("revenue", brought), ("goods", -(1.0 - share) * brought)]
    returns = rows.get("incremental_returns")
    if returns is not None and returns.estimate is not None:
        steps.append(("returns", -share * returns.estimate))
    for name in ("contact", "redemption"):
        row = rows.get(f"cost_{name}")
        if row is not None and row.estimate:
            steps.append((name, -row.estimate))
    return [*steps, ("profit", profit.estimate or 0.0)]


def _waterfall(
    ax: Axes,
    steps: list[tuple[str, float]],
    profit: Row,
    y: float,
    language: str,
) -> float:
    """Bars one below the other, each from where the last one ended."""
    edges, at = [], 0.0
    for name, value in steps:
        start = 0.0 if name == "profit" else at
        edges.append((start, start + value))
        at = start + value
    ends = [e for pair in edges for e in pair]
    ends += [e for e in (profit.ci_low, profit.ci_high) if e is not None]
    plane = Plane(y, around(ends), (0.0, 1.0), len(steps) * 1.25, LABEL, 1 - VALUE)
    ticks = round_ticks(plane.across, 4, plain, 1.0)
    below = ground(ax, plane, lambda v, d: "", across=ticks, zero=False,
                   caption=say(language, "figure.per_customer"))  # fmt: skip
    upright_zero(ax, plane)
    digits = max(2, money_digits(profit))
    for i, ((name, value), (a, b)) in enumerate(zip(steps, edges, strict=True)):
        middle = y + (i + 0.5) * 1.25
        colour = PROFIT if name == "profit" else PLUS if value >= 0 else MINUS
        _bar(ax, plane.x(a), plane.x(b), middle, colour)
        if i + 1 < len(steps) - 1:
            x = plane.x(b)
            link = [((x, middle + BAR / 2), (x, middle + 1.25 - BAR / 2))]
            strokes(ax, link, colors=MUTED, lw=0.9, zorder=3)
        bold: dict[str, Any] = {"weight": "bold"} if name == "profit" else {}
        words = say(language, f"figure.step.{name}")
        write(ax, 0, middle, words, **bold)
        write(ax, 1, middle, number(value, digits, signed=True), ha="right", fontsize=SMALL, **bold)
    if profit.ci_low is not None and profit.ci_high is not None:
        middle = y + (len(steps) - 0.5) * 1.25
        a, b = plane.x(profit.ci_low), plane.x(profit.ci_high)
        lines = [((a, middle), (b, middle))]
        lines += [((x, middle - 0.2), (x, middle + 0.2)) for x in (a, b)]
        strokes(ax, lines, colors=INK, lw=1.6, zorder=5)
    return below


def _bar(ax: Axes, a: float, b: float, middle: float, colour: str) -> None:
    corners = [(a, middle - BAR / 2), (b, middle - BAR / 2),
               (b, middle + BAR / 2), (a, middle + BAR / 2)]  # fmt: skip
    ax.add_collection(PolyCollection([corners], color=colour, lw=0, zorder=4), autolim=False)


def money_digits(profit: Row) -> int:
    """Digits that show two figures of the profit's interval; two where it has none."""
    if profit.ci_low is None or profit.ci_high is None:
        return 2
    return min(4, digits_of_spread((profit.ci_high - profit.ci_low) / 2))


def margin_plot(results: Table, spec: Spec, language: str = "en", ax: Axes | None = None) -> Axes:
    """Margin per dollar of incentive by arm, against the least that the file wants.

    Without `ax`, a new pyplot figure is made.
    """
    rows = incentive_rows(results, "margin_per_dollar", term=None)
    shown = ratio_measure(None, None)
    tint = tints(results, spec)
    least = spec.incentive.min_roi if spec.incentive is not None else 0.0
    items = tuple(
        arm_item(r, shown, arm_name(spec, r.arm, language), tint.get(r.arm, ALERT), language, least)
        for r in rows
    )
    lines = [Line(1.0, say(language, "figure.breaks_even"))]
    if least != 1.0:
        wanted = number(least, 2).rstrip("0").rstrip(".")
        lines.append(Line(least, say(language, "figure.wanted", least=wanted), alert=True))
    title = say(language, "figure.margin_per_dollar")
    return forest_sheet(ax, title, language, [Group("", items)], lines)
