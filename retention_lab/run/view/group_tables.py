"""Survival rows of groups or arms in; the folded tables of them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from retention_lab.figures.groups import came, came_rows, has_competing, sizes_of, survival_rows
from retention_lab.results import Row
from retention_lab.run.view.blocks import Table, Value, value
from retention_lab.run.view.groups import (
    by_name,
    differences,
    group_label,
    name_of,
    preferred,
    share_by,
    share_gaps,
)
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts.lives import OTHER
from retention_lab.texts.numbers import (
    DASH,
    Measure,
    measure,
    number,
    p_cell,
    p_text,
    shared_measure,
)

MILESTONES = (30, 90, 180, 365)
MOST_LINES = 60


def group_tables(source: Source, tongue: Tongue, segment: str | None) -> tuple[Table, ...]:
    """The folded tables of groups; with competing events what censors these has one of its own."""
    say = tongue.say
    censored = group_table(source, tongue, segment, say("table.show"))
    if not has_competing(source.spec):
        return (censored,) if censored is not None else ()
    found = (
        _first_table(source, tongue, segment, say("table.show")),
        group_table(source, tongue, segment, say("lives.show_censored")),
    )
    return tuple(t for t in found if t is not None)


def _first_table(source: Source, tongue: Tongue, segment: str | None, folded: str) -> Table | None:
    """Every group: customers, the share that had the event first by some days, the difference."""
    curves = by_name(came_rows(source.results, source.spec, segment))
    sizes = sizes_of(source.results, segment)
    apart = {name_of(r): r for r in share_gaps(source, segment)}
    names = _ordered(dict.fromkeys((*sizes, *curves)), sizes, apart)
    if not names:
        return None
    days = _days(curves)
    heads = [tongue.say("lives.group"), tongue.say("table.units")]
    heads += [tongue.say("lives.share_by", day=d) for d in days]
    at = next((r.at for r in apart.values()), None)
    if apart:
        heads += [tongue.say("lives.difference_by", day=at), tongue.say("table.p")]
    ends = [(r.ci_low, r.ci_high) for r in apart.values()]
    change = shared_measure("difference", "proportion", ends)
    lines = []
    for name in names[:MOST_LINES]:
        line = _line(name, sizes, curves, days, tongue, segment)
        if apart:
            line += [value(apart.get(name), change, tongue), Value(_p(apart.get(name)))]
        lines.append(tuple(line))
    caption = _caption(tongue, apart, segment)
    return Table(caption, tuple(heads), tuple(lines), folded)


def group_table(source: Source, tongue: Tongue, segment: str | None, folded: str) -> Table | None:
    """Every group: customers, shares by some days, mean days waited and their difference.

    With competing events the caption says that these are censored, and gives the log-rank test.
    """
    curves = by_name(survival_rows(source.results, "survival", segment))
    sizes = sizes_of(source.results, segment)
    means = survival_rows(source.results, "rmst", segment)
    apart = {name_of(r): r for r in differences(source, segment)}
    tau = next((r.at for r in apart.values()), preferred(means, source.spec))
    mean = {name_of(r): r for r in means if r.at == tau}
    names = _ordered(dict.fromkeys((*sizes, *curves, *mean)), sizes, apart)
    censored = has_competing(source.spec)
    if not names or (censored and not curves and not mean):
        return None
    days = _days(curves)
    heads = [tongue.say("lives.group"), tongue.say("table.units")]
    heads += [tongue.say("lives.share_by", day=d) for d in days]
    heads += [tongue.say("lives.mean_days", tau=tau)] if mean else []
    heads += [tongue.say("lives.difference_days"), tongue.say("table.p")] if apart else []
    level = shared_measure("size", "mean", [(r.ci_low, r.ci_high) for r in mean.values()])
    change = shared_measure("difference", "mean", [(r.ci_low, r.ci_high) for r in apart.values()])
    lines = []
    for name in names[:MOST_LINES]:
        line = _line(name, sizes, curves, days, tongue, segment)
        line += [value(mean.get(name), level, tongue)] if mean else []
        if apart:
            line += [value(apart.get(name), change, tongue), Value(_p(apart.get(name)))]
        lines.append(tuple(line))
    caption = _caption(tongue, apart, segment)
    if censored:
        caption = tongue.say("lives.table_censored", caption=caption)
        tests = source.results.where(estimand="log_rank", segment=segment, term="plain").rows
        p = next((r.p_value for r in tests if r.p_value is not None), None)
        caption += tongue.say("lives.table_log_rank", p=p_text(p)) if p is not None else ""
    return Table(caption, tuple(heads), tuple(lines), folded)


def _ordered(names: Iterable[str], sizes: Mapping[str, int], apart: Mapping[str, Row]) -> list[str]:
    """The reference first, then the largest; all others together at the end."""
    return sorted(names, key=lambda n: (n in apart, n == OTHER, -sizes.get(n, 0)))


def _days(curves: Mapping[str, Sequence[Row]]) -> list[int]:
    every = curves.values()
    return [d for d in MILESTONES if any(share_by(own, d) is not None for own in every)]


def _line(
    name: str,
    sizes: Mapping[str, int],
    curves: Mapping[str, Sequence[Row]],
    days: Sequence[int],
    tongue: Tongue,
    segment: str | None,
) -> list[Value]:
    size = sizes.get(name)
    line = [Value(group_label(tongue, name, segment))]
    line.append(Value(DASH if size is None else number(size, 0)))
    return line + [_share(curves.get(name, []), d, tongue) for d in days]


def _caption(tongue: Tongue, apart: Mapping[str, Row], segment: str | None) -> str:
    base = next((r.baseline for r in apart.values()), None)
    if base is None:
        return tongue.say("lives.table_plain")
    return tongue.say("lives.table", baseline=group_label(tongue, base, segment))


def _p(r: Row | None) -> str:
    """The adjusted p-value, else the plain one; empty for the reference."""
    return "" if r is None else p_cell(r.p_value if r.p_adjusted is None else r.p_adjusted)


def _share(rows: Sequence[Row], day: int, tongue: Tongue) -> Value:
    found = share_by(rows, day)
    if found is None:
        return Value(DASH)
    row = came(found)
    shown: Measure = measure("level", "proportion", row.ci_low, row.ci_high)
    return value(row, shown, tongue)
