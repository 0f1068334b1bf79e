"""Survival rows of groups or arms in; what tells them apart, as sentences and a table, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from retention_lab.figures.groups import sizes_of, survival_rows
from retention_lab.results import Row
from retention_lab.run.view.blocks import Table, Value, value
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import interval_text
from retention_lab.texts.lives import OTHER, bounds, deed, level_label, split_label
from retention_lab.texts.numbers import (
    DASH,
    Measure,
    measure,
    number,
    p_cell,
    p_text,
    shared_measure,
)

TAU = 90  # the horizon that is told first
MILESTONES = (30, 90, 180, 365)
MOST_SAID = 4
FEW = 2  # comparisons that are told even where they are not clear
MOST_LINES = 60
ALPHA = 0.05


def name_of(r: Row) -> str:
    """The group or arm of a row; empty for everyone."""
    return (r.level if r.segment is not None else r.arm) or ""


def group_label(tongue: Tongue, name: str | None, segment: str | None) -> str:
    """The reader's word for a group, or for an arm where there is no segment."""
    if segment is None:
        return tongue.arm(name)
    return level_label(tongue.spec, name, tongue.language)


def preferred(rows: Sequence[Row], at: int = TAU) -> str | None:
    """The day that is told first of those in `rows`: `at`, else the last one; None without."""
    days = {r.at for r in rows if r.at is not None and r.estimate is not None}
    return str(at) if str(at) in days else max(days, key=bounds, default=None)


def differences(source: Source, segment: str | None) -> tuple[Row, ...]:
    """The differences in mean days of one horizon, one a group or arm."""
    rows = survival_rows(source.results, "rmst_difference", segment)
    at = preferred(rows)
    return tuple(r for r in rows if r.at == at and r.estimate is not None)


def is_clear(r: Row) -> bool:
    """Whether the interval leaves no difference, and the adjusted test does not object."""
    return _beside_zero(r) and (r.p_adjusted is None or r.p_adjusted < ALPHA)


def _beside_zero(r: Row) -> bool:
    return r.ci_low is not None and r.ci_high is not None and not r.ci_low <= 0 <= r.ci_high


def difference_text(tongue: Tongue, r: Row) -> str:
    """``“Autumn sale” came back 14.8 days later than ...``: mean days within the horizon."""
    shown = measure("size", "mean", r.ci_low, r.ci_high)
    signed = dataclasses.replace(shown, signed=True)
    estimate = r.estimate or 0.0
    clear = is_clear(r)
    key = "lives.alike" if not clear else "lives.later" if estimate > 0 else "lives.earlier"
    words = {
        "level": group_label(tongue, name_of(r), r.segment),
        "baseline": group_label(tongue, r.baseline, r.segment),
        "deed": deed(tongue.spec, tongue.language),
        "tau": r.at,
        "days": shown.bare(abs(estimate)),
        "change": signed.bare(estimate),
    }
    low, high = (r.ci_low, r.ci_high) if estimate > 0 or not clear else (r.ci_high, r.ci_low)
    ends = (low, high) if not clear else tuple(None if e is None else abs(e) for e in (low, high))
    style = signed if not clear else shown
    words["interval"] = interval_text(tongue.spec, style, ends[0], ends[1], tongue.language)
    said = tongue.say(key, **words)
    if clear or r.p_adjusted is None or not _beside_zero(r):
        return said
    return tongue.joined([said, tongue.say("lives.corrected", p=p_text(r.p_adjusted))])


def said_of(source: Source, tongue: Tongue, segment: str | None) -> tuple[str, ...]:
    """The differences in words: all of a few groups, the clearest of many."""
    rows = differences(source, segment)
    told = clearest(rows)
    said = [difference_text(tongue, r) for r in told]
    if rows and not told:
        words = {"n": len(rows), "baseline": group_label(tongue, rows[0].baseline, segment)}
        said.append(
            tongue.say("lives.none_clear", deed=deed(tongue.spec, tongue.language), **words)
        )
    if told:
        said.append(tongue.say("lives.counted_full", tau=rows[0].at))
    said += shares_text(source, tongue, segment)
    return (*said, *test_text(source, tongue, segment))


def shares_text(source: Source, tongue: Tongue, segment: str | None) -> list[str]:
    """The shares by one day and their difference: of the groups that differ most."""
    rows = survival_rows(source.results, "survival_difference", segment)
    day = preferred(rows)
    known = [r for r in rows if r.at == day and r.estimate is not None]
    return [said for r in clearest(known) if (said := _shares(source, tongue, r))]


def _shares(source: Source, tongue: Tongue, r: Row) -> str:
    day = bounds(r.at)[1]
    curves = survival_rows(source.results, "survival", r.segment)
    own, base = (
        share_by([c for c in curves if name_of(c) == name], day)
        for name in (name_of(r), r.baseline)
    )
    if own is None and base is None:
        return ""
    gap = r.estimate or 0.0
    a = own.estimate if own is not None else None
    b = base.estimate if base is not None else None
    a = a if a is not None else (b or 0.0) + gap
    b = b if b is not None else a - gap
    low, high = (None if e is None else -e for e in (r.ci_high, r.ci_low))
    change = measure("difference", "proportion", low, high)
    plain = dataclasses.replace(change, signed=False, unit="percent")
    words = {
        "level": group_label(tongue, name_of(r), r.segment),
        "baseline": group_label(tongue, r.baseline, r.segment),
        "a": plain.text(1 - a, tongue.language),
        "b": plain.text(1 - b, tongue.language),
        "deed": deed(tongue.spec, tongue.language),
        "change": change.text(-gap, tongue.language),
        "interval": interval_text(tongue.spec, change, low, high, tongue.language),
    }
    return tongue.say("lives.by_day", day=day, **words)


def clearest(rows: Sequence[Row]) -> tuple[Row, ...]:
    """All rows of a few groups; of many those that are clear, the clearest first."""
    if len(rows) <= FEW:
        return tuple(rows)
    clear = sorted((r for r in rows if is_clear(r)), key=lambda r: r.p_value or 0.0)
    return tuple(clear[:MOST_SAID])


def test_text(source: Source, tongue: Tongue, segment: str | None) -> tuple[str, ...]:
    """Whether the groups differ at all, by the log-rank test; the plain one where there are two."""
    rows = source.results.where(estimand="log_rank", segment=segment).rows
    known = [r for r in rows if r.p_value is not None]
    known.sort(key=lambda r: r.term != "plain")
    if not known:
        return ()
    p = known[0].p_value or 0.0
    differs = p < source.spec.inference.alpha
    if segment is None:
        return (tongue.say("lives.arms_differ" if differs else "lives.arms_same", p=p_text(p)),)
    words = {"segment": split_label(tongue.spec, segment, tongue.language), "p": p_text(p)}
    return (tongue.say("lives.differ" if differs else "lives.same", **words),)


def group_table(source: Source, tongue: Tongue, segment: str | None, folded: str) -> Table | None:
    """Every group: customers, shares by some days, mean days waited and their difference."""
    curves: dict[str, list[Row]] = {}
    for r in survival_rows(source.results, "survival", segment):
        curves.setdefault(name_of(r), []).append(r)
    sizes = sizes_of(source.results, segment)
    means = survival_rows(source.results, "rmst", segment)
    apart = {name_of(r): r for r in differences(source, segment)}
    tau = next((r.at for r in apart.values()), preferred(means))
    mean = {name_of(r): r for r in means if r.at == tau}
    names = list(dict.fromkeys((*sizes, *curves, *mean)))
    if not names:
        return None
    names.sort(key=lambda n: (n in apart, n == OTHER, -sizes.get(n, 0)))
    days = [d for d in MILESTONES if any(share_by(own, d) is not None for own in curves.values())]
    heads = [tongue.say("lives.group"), tongue.say("table.units")]
    heads += [tongue.say("lives.share_by", day=d) for d in days]
    heads += [tongue.say("lives.mean_days", tau=tau)] if mean else []
    heads += [tongue.say("lives.difference_days"), tongue.say("table.p")] if apart else []
    level = shared_measure("size", "mean", [(r.ci_low, r.ci_high) for r in mean.values()])
    change = shared_measure("difference", "mean", [(r.ci_low, r.ci_high) for r in apart.values()])
    lines = []
    for name in names[:MOST_LINES]:
        size = sizes.get(name)
        line = [Value(group_label(tongue, name, segment))]
        line.append(Value(DASH if size is None else number(size, 0)))
        line += [_share(curves.get(name, []), d, tongue) for d in days]
        line += [value(mean.get(name), level, tongue)] if mean else []
        if apart:
            line += [value(apart.get(name), change, tongue), Value(_p(apart.get(name)))]
        lines.append(tuple(line))
    base = next((r.baseline for r in apart.values()), None)
    caption = tongue.say("lives.table_plain")
    if base is not None:
        caption = tongue.say("lives.table", baseline=group_label(tongue, base, segment))
    return Table(caption, tuple(heads), tuple(lines), folded)


def _p(r: Row | None) -> str:
    """The adjusted p-value, else the plain one; empty for the reference."""
    return "" if r is None else p_cell(r.p_value if r.p_adjusted is None else r.p_adjusted)


def share_by(rows: Sequence[Row], day: int) -> Row | None:
    """The row that holds on `day`; None where the curve begins later or ends before."""
    known = [r for r in rows if r.estimate is not None]
    before = [r for r in known if bounds(r.at)[1] <= day]
    after = [r for r in known if bounds(r.at)[1] >= day]
    return max(before, key=lambda r: bounds(r.at)[1]) if before and after else None


def risen(r: Row) -> Row:
    """The same row as the share that has had the event."""
    low, high = (None if e is None else 1 - e for e in (r.ci_high, r.ci_low))
    estimate = None if r.estimate is None else 1 - r.estimate
    return dataclasses.replace(r, estimate=estimate, ci_low=low, ci_high=high)


def _share(rows: Sequence[Row], day: int, tongue: Tongue) -> Value:
    found = share_by(rows, day)
    if found is None:
        return Value(DASH)
    row = risen(found)
    shown: Measure = measure("level", "proportion", row.ci_low, row.ci_high)
    return value(row, shown, tongue)
