"""A run with an incentive in; effects, weeks, doses and the ground of it all, as blocks, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from matplotlib.axes import Axes

from retention_lab.figures import (
    dose_plot,
    effects_plot,
    event_study_plot,
    forward_plot,
    threshold_plot,
)
from retention_lab.figures.incentive_rows import (
    EFFECTS,
    as_number,
    headline_rows,
    incentive_rows,
    many,
)
from retention_lab.figures.offer import BESIDE
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, Table, Value
from retention_lab.run.view.incentive_ledger import amount, noted
from retention_lab.run.view.incentive_words import percent
from retention_lab.run.view.model import Draw
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import interval_text, kind_of, level_of, note_text
from retention_lab.texts.incentive import (
    capital,
    covariate_label,
    money_measure,
    quoted,
    round_number,
)
from retention_lab.texts.numbers import Measure, measure, number, p_cell, p_text

MOST_METRICS = 6  # sentences on effects
LEAST_POINTS = 0.2  # width of an interval that one digit of a point can show
FIRST_COVARIATES = 8  # named in the sentence that says who is compared


def difference(source: Source, row: Row) -> Measure:
    """How to write an effect on a metric; of markets, with one digit of a point."""
    shown = measure("difference", kind_of(source.spec, row.metric), row.ci_low, row.ci_high)
    return of_markets(source, shown, row.ci_low, row.ci_high)


def of_markets(source: Source, shown: Measure, low: float | None, high: float | None) -> Measure:
    """`shown` with one digit of a point where markets are compared and that shows the interval."""
    said = source.spec.incentive
    if said is None or said.strategy != "rollout" or shown.unit != "points":
        return shown
    wide = low is not None and high is not None and (high - low) * shown.factor >= LEAST_POINTS
    return dataclasses.replace(shown, digits=1) if wide else shown


def interval(source: Source, tongue: Tongue, row: Row, shown: Measure | None = None) -> str:
    """``95% interval +1.2 to +5.0 points``, or a dash in place of ends that are not known."""
    shown = shown or difference(source, row)
    return interval_text(source.spec, shown, row.ci_low, row.ci_high, tongue.language)


def effect_block(
    source: Source, tongue: Tongue, draw: Draw, above: object = None
) -> tuple[Block, ...]:
    """A sentence a metric and arm, figures but the one `above`, and the table of all effects."""
    spec = source.spec
    metrics = dict.fromkeys(
        r.metric for r in source.results.rows if r.metric and headline_rows([r], r.metric)
    )
    ordered = sorted(metrics, key=lambda m: m not in spec.primary)
    rows = [r for m in ordered for r in headline_rows(source.results, m)]
    if not rows:
        return ()
    said = [_sentence(source, tongue, r) for r in rows[:MOST_METRICS]]
    first = spec.primary[0]
    naive = incentive_rows(source.results, "naive_difference", metric=first)
    if len(naive) == 1 and naive[0].estimate is not None:
        change = difference(source, naive[0]).text(naive[0].estimate, tongue.language)
        said.append(tongue.say("incentive.effect.naive", change=change))
    for bounds in _bounds(source, tongue):
        said.append(bounds)
    named: list[tuple[str, str, Callable[..., Axes]]] = [
        ("effect", "", effects_plot),
        ("event-study", "event_time_effect", event_study_plot),
        ("threshold", "binned_mean", threshold_plot),
    ]
    figures = [
        draw(name, plot, metric=first)
        for name, estimand, plot in named
        if plot is not above
        and (not estimand or incentive_rows(source.results, estimand, metric=first))
    ]
    return (Block("", tuple(said), (_table(source, tongue, rows),), figures=tuple(figures)),)


def _sentence(source: Source, tongue: Tongue, row: Row) -> str:
    words = {
        "metric": tongue.metric(row.metric),
        "arm": quoted(source.spec, row.arm, tongue.language),
    }
    if row.estimate is None or row.ci_low is None:
        note = note_text(row.note, tongue.language)
        return tongue.say("incentive.effect.said_none", note=note, **words)
    shown = difference(source, row)
    words["change"] = shown.text(row.estimate, tongue.language)
    words["interval"] = interval(source, tongue, row)
    key = "said" if row.arm is not None else "said_it"
    said = source.spec.incentive
    if row.estimand == "late":
        key = "said_late"
        over = _offered(source, row)
        if over is not None:
            key = "said_late_over"
            words["over"] = difference(source, over).text(over.estimate, tongue.language)
            words["over_interval"] = interval(source, tongue, over)
    elif said is not None and said.strategy == "observational" and row.n and row.n_baseline:
        key = "said_alike"
        words |= {"n": number(row.n, 0), "n_baseline": number(row.n_baseline, 0)}
    return tongue.say(f"incentive.effect.{key}", p=p_text(row.p_value), **words)


def _offered(source: Source, row: Row) -> Row | None:
    """The effect over everyone offered, beside that on redeemers."""
    found = source.results.where(
        analysis="ab", metric=row.metric, arm=row.arm, baseline=row.baseline, segment=None
    ).rows
    return next((r for r in found if r.estimand in EFFECTS and r.estimate is not None), None)


def _bounds(source: Source, tongue: Tongue) -> list[str]:
    """What the effect would be if everyone redeemed, of the first metric and each arm."""
    rows = incentive_rows(source.results, "full_uptake_bound", metric=source.spec.primary[0])
    said = []
    for arm in dict.fromkeys(r.arm for r in rows):
        ends = {r.term: r for r in rows if r.arm == arm}
        low, high = ends.get("lower"), ends.get("upper")
        if low is None or high is None or low.estimate is None or high.estimate is None:
            continue
        shown = measure("difference", kind_of(source.spec, low.metric), low.estimate, high.estimate)
        a, b = shown.ends(low.estimate, high.estimate, tongue.language)
        said.append(tongue.say("incentive.effect.full_uptake", low=a, high=b))
    return said


def _table(source: Source, tongue: Tongue, rows: list[Row]) -> Table:
    """The headline effects, and every other estimate of them."""
    say = tongue.say
    metrics = list(dict.fromkeys(r.metric for r in rows))
    beside = [
        r for m in metrics for r in incentive_rows(source.results, BESIDE, metric=m, term=None)
    ]
    arms = many(r.arm for r in rows)
    heads = [say("incentive.effect.outcome"), say("incentive.effect.what")]
    heads += [say("incentive.effect.arm")] if arms else []
    heads += [say("incentive.effect.effect"), say("incentive.effect.p"), say("table.note")]
    lines = []
    for r in sorted([*rows, *beside], key=lambda r: metrics.index(r.metric)):
        cells = [Value(tongue.metric(r.metric)), Value(say(f"estimand.{r.estimand}"))]
        cells += [Value(tongue.arm(r.arm))] if arms else []
        note = note_text(r.note, tongue.language)
        cells += [amount(r, difference(source, r), tongue), Value(p_cell(r.p_value)), Value(note)]
        lines.append(tuple(cells))
    caption = say("incentive.effect.caption", level=level_of(source.spec))
    return Table(caption, tuple(heads), tuple(lines), say("incentive.effect.show"))


def rests_block(source: Source, tongue: Tongue) -> tuple[Block, ...]:
    """What sets those who got it apart from those they are compared with, in plain words."""
    said = source.spec.incentive
    assert said is not None
    key: str = said.strategy
    words = {}
    if key == "observational":
        words["covariates"] = _covariates(tongue, said.columns)
    elif key == "threshold":
        words["cutoff"] = round_number(said.cutoff)
        key = "threshold" if said.above else "threshold_below"
    elif key == "rollout" and said.controls == "never":
        key = "rollout_never"
    return (Block("", (tongue.say(f"incentive.rests.{key}", **words),)),)


def _covariates(tongue: Tongue, columns: tuple[str, ...]) -> str:
    named = [covariate_label(tongue.spec, c, tongue.language) for c in columns[:FIRST_COVARIATES]]
    named += ["…"] if len(columns) > FIRST_COVARIATES else []
    return tongue.say("comma").join(named)


def forward_blocks(source: Source, tongue: Tongue, draw: Draw) -> tuple[Block, ...]:
    """Whether what came first was taken from later, an arm each."""
    rows = incentive_rows(source.results, "weekly_effect")
    arms = tuple(dict.fromkeys(r.arm for r in rows))
    found = []
    for i, arm in enumerate(arms, 1):
        back = next(iter(incentive_rows(source.results, "pull_forward", arm=arm)), None)
        net = next(iter(incentive_rows(source.results, "net_effect", arm=arm)), None)
        title = tongue.arm(arm) if many(arms) else ""
        figure = draw(f"forward-{i}", forward_plot, arm=arm)
        found.append(Block(title, _forward(source, tongue, back, net), figures=(figure,)))
    return tuple(found)


def _forward(source: Source, tongue: Tongue, back: Row | None, net: Row | None) -> tuple[str, ...]:
    if net is None or net.estimate is None:
        return tuple(x for x in (note_text(net.note if net else None, tongue.language),) if x)
    shown = money_measure(net.ci_low, net.ci_high)
    words = {
        "weeks": str(net.at or ""),
        "net": shown.text(net.estimate, tongue.language),
        "interval": interval(source, tongue, net, shown),
    }
    given = back is not None and back.p_value is not None and back.p_value < 0.05
    if given and back is not None and back.estimate is not None:
        part = f"{number(100 * min(max(back.estimate, 0.0), 1.0), 0)}%"
        peak = str(back.at or "")
        said = [tongue.say("incentive.forward.whole", peak=peak, share=part, **words)]
    else:
        said = [tongue.say("incentive.forward.kept", **words)]
    if noted(back, "still_falling"):
        said.append(tongue.say("incentive.forward.falling", weeks=words["weeks"]))
    return tuple(said)


def dose_block(source: Source, tongue: Tongue, draw: Draw) -> tuple[Block, ...]:
    """The best dose with its interval, what one more dollar does, and the profit at each dose."""
    rows = incentive_rows(source.results, "dose_mean")
    if not rows:
        return ()
    metric = source.spec.primary[0]
    best = next(iter(incentive_rows(source.results, "best_dose")), None)
    said = []
    if best is not None and best.estimate is not None:
        shown = measure("level", "mean", best.ci_low, best.ci_high)
        words = {"dose": shown.text(best.estimate, tongue.language)}
        key = "best_plain"
        if best.ci_low is not None and best.ci_high is not None:
            words |= {"low": shown.bare(best.ci_low), "high": shown.bare(best.ci_high)}
            key = "best"
        said.append(tongue.say(f"incentive.dose.{key}", **words))
        said += [note_text(best.note, tongue.language)] if best.note else []
    elif best is not None:
        note = note_text(best.note, tongue.language)
        said.append(tongue.say("incentive.dose.none", note=note))
    said += _marginal(source, tongue, metric)
    tables = _profits(source, tongue)
    return (Block("", tuple(said), tables, figures=(draw("dose", dose_plot, metric=metric),)),)


def _marginal(source: Source, tongue: Tongue, metric: str) -> list[str]:
    """What one more dollar does at the lowest and at the highest dose that was tried."""
    rows = incentive_rows(source.results, "marginal_effect", metric=metric)
    terms = {r.term for r in rows}
    own = [r for r in rows if r.term == ("spline" if "spline" in terms else "linear")]
    own = sorted((r for r in own if r.estimate is not None), key=lambda r: as_number(r.at) or 0.0)
    said = []
    for r in dict.fromkeys([*own[:1], *own[-1:]]):
        shown = difference(source, r)
        words = {
            "dose": str(r.at),
            "metric": tongue.metric(metric),
            "change": shown.text(r.estimate, tongue.language),
            "interval": interval(source, tongue, r),
        }
        said.append(capital(tongue.say("incentive.dose.marginal", **words)))
    return said


def _profits(source: Source, tongue: Tongue) -> tuple[Table, ...]:
    rows = incentive_rows(source.results, "profit_at_dose")
    if not rows:
        return ()
    chances = {r.at: r.estimate for r in incentive_rows(source.results, "chance_best")}
    ends = [(r.ci_low, r.ci_high) for r in rows]
    shown = money_measure(*next((e for e in ends if None not in e), (None, None)))
    say = tongue.say
    heads = (
        say("incentive.effect.arm"),
        say("incentive.dose.dose"),
        say("incentive.dose.profit"),
        say("incentive.dose.chance"),
    )
    lines = tuple(
        (
            Value(tongue.arm(r.arm)),
            Value(str(r.at or "")),
            amount(r, shown, tongue),
            Value("" if chances.get(r.at) is None else percent(chances[r.at] or 0.0)),
        )
        for r in rows
    )
    return (Table(say("incentive.dose.caption", level=level_of(source.spec)), heads, lines),)
