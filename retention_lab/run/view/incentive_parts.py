"""A run with an incentive in; effects, weeks, doses and the ground of it all, as blocks, out."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes

from retention_lab.figures import (
    dose_plot,
    effects_plot,
    event_study_plot,
    forward_plot,
    margin_plot,
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
    level_measure,
    money_measure,
    quoted,
    ratio_measure,
    round_number,
)
from retention_lab.texts.numbers import Measure, measure, number, p_cell, p_text

MOST_EFFECTS = 6  # sentences on effects; of more, those on the primary metric are told
FIRST_COVARIATES = 8  # named in the sentence that says who is compared


def difference(source: Source, row: Row) -> Measure:
    """How to write an effect on a metric."""
    return measure("difference", kind_of(source.spec, row.metric), row.ci_low, row.ci_high)


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
    told = [r for r in rows if r.metric in spec.primary] if len(rows) > MOST_EFFECTS else rows
    said = [effect_said(source, tongue, r) for r in (told or rows)[:MOST_EFFECTS]]
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


def effect_said(source: Source, tongue: Tongue, row: Row) -> str:
    """One headline effect in a sentence; why there is none where it is not known."""
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
    over = [_offered(source, r) for r in rows if r.estimand == "late"]
    beside += [r for r in over if r is not None]
    arms = many(r.arm for r in rows)
    heads = [say("incentive.effect.outcome"), say("incentive.effect.what")]
    heads += [say("incentive.effect.arm")] if arms else []
    heads += [say("incentive.effect.effect"), say("incentive.effect.p"), say("table.note")]
    lines = []
    for r in sorted([*rows, *beside], key=lambda r: metrics.index(r.metric)):
        what = "incentive.effect.everyone" if r in over else f"estimand.{r.estimand}"
        cells = [Value(tongue.metric(r.metric)), Value(say(what))]
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
        "metric": tongue.metric(net.metric),
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


def dose_block(
    source: Source, tongue: Tongue, draw: Draw, returns: bool = False
) -> tuple[Block, ...]:
    """The best dose with its interval, what one more dollar does, and the profit at each dose.

    With `returns`, also what a dollar brought at each dose, where that is not drawn above.
    """
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
            words["interval"] = interval(source, tongue, best, shown)
            key = "best"
        said.append(tongue.say(f"incentive.dose.{key}", **words))
        said += [note_text(best.note, tongue.language)] if best.note else []
    elif best is not None:
        note = note_text(best.note, tongue.language)
        said.append(tongue.say("incentive.dose.none", note=note))
    said += [_less_in_all(source, tongue)] if returns else []
    said += _marginal(source, tongue, metric)
    tables = _profits(source, tongue)
    figures = [draw("dose", dose_plot, metric=metric)]
    figures += [draw("margin", margin_plot)] if returns else []
    return (Block("", tuple(x for x in said if x), tables, figures=tuple(figures)),)


def _less_in_all(source: Source, tongue: Tongue) -> str:
    """Why the arm whose dollar brings most is not the one that is kept; empty where it is."""
    rows = incentive_rows(source.results, "margin_per_dollar", term=None)
    most = max(rows, key=lambda r: r.estimate if r.estimate is not None else float("-inf"))
    kept, language = source.verdict.arm, tongue.language
    profit = {r.arm: r.estimate for r in incentive_rows(source.results, "profit_at_dose")}
    less, more = profit.get(most.arm), profit.get(kept)
    if most.arm == kept or less is None or more is None or less >= more:
        return ""
    words = {
        "arm": quoted(source.spec, most.arm, language),
        "kept": quoted(source.spec, kept, language),
        "ratio": ratio_measure(most.ci_low, most.ci_high).text(most.estimate, language),
    }
    return capital(tongue.say("incentive.dose.less_in_all", **words))


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
    shown = level_measure((r.ci_low, r.ci_high) for r in rows)
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
