"""Survival rows of groups or arms in; what tells them apart, as sentences, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from retention_lab.experiment.spec import Spec, hours
from retention_lab.figures.groups import (
    came,
    came_rows,
    has_competing,
    survival_rows,
)
from retention_lab.multiplicity import SIMULTANEOUS
from retention_lab.results import Row
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import level_of, note_code, note_text
from retention_lab.texts.lives import (
    bounds,
    deed,
    deed_first,
    event_of,
    level_label,
    span_text,
    split_label,
    undone,
)
from retention_lab.texts.numbers import (
    measure,
    p_text,
)

TAU = 90  # the day that is told first where the file names none
MOST_SAID = 4
FEW = 2  # comparisons that are told even where they are not clear
UNSEEN = "not_seen_from_origin"
NOTHING_YET = "no_event_yet"


def name_of(r: Row) -> str:
    """The group or arm of a row; empty for everyone."""
    return (r.level if r.segment is not None else r.arm) or ""


def group_label(tongue: Tongue, name: str | None, segment: str | None) -> str:
    """The reader's word for a group, or for an arm where there is no segment."""
    if segment is None:
        return tongue.arm(name)
    return level_label(tongue.spec, name, tongue.language)


def preferred(rows: Sequence[Row], spec: Spec) -> str | None:
    """The day told first of those in `rows`: the file's tau (or 90), else the last one, or None."""
    tau = spec.survival.tau if spec.survival is not None else None
    at = hours(tau) // 24 if tau is not None else TAU
    days = {r.at for r in rows if r.at is not None and r.estimate is not None}
    return str(at) if str(at) in days else max(days, key=bounds, default=None)


def differences(source: Source, segment: str | None) -> tuple[Row, ...]:
    """The differences in mean days of one horizon, one a group or arm."""
    rows = survival_rows(source.results, "rmst_difference", segment)
    at = preferred(rows, source.spec)
    return tuple(r for r in rows if r.at == at and r.estimate is not None)


def is_clear(r: Row, spec: Spec) -> bool:
    """Whether the interval leaves no difference, and the adjusted test does not object."""
    return _beside_zero(r) and (r.p_adjusted is None or r.p_adjusted < spec.inference.alpha)


def _beside_zero(r: Row) -> bool:
    return r.ci_low is not None and r.ci_high is not None and not r.ci_low <= 0 <= r.ci_high


def difference_text(tongue: Tongue, r: Row, source: Source | None = None) -> str:
    """``“Autumn sale” spent 14.8 more of the first 90 days without ...``: restricted means.

    Where one of the groups has no event, and so no error, that is said in place of a difference.
    """
    if source is not None and (none := none_had(source, tongue, r)):
        return none
    shown = measure("size", "mean", r.ci_low, r.ci_high)
    signed = dataclasses.replace(shown, signed=True)
    estimate = r.estimate or 0.0
    clear = is_clear(r, tongue.spec)
    key = "lives.alike" if not clear else "lives.more_days" if estimate > 0 else "lives.fewer_days"
    words = {
        "level": group_label(tongue, name_of(r), r.segment),
        "baseline": group_label(tongue, r.baseline, r.segment),
        "undone": undone(tongue.spec, tongue.language),
        "tau": r.at,
        "days": shown.bare(abs(estimate)),
        "change": signed.bare(estimate),
    }
    low, high = (r.ci_low, r.ci_high) if estimate > 0 or not clear else (r.ci_high, r.ci_low)
    ends = (low, high) if not clear else tuple(None if e is None else abs(e) for e in (low, high))
    style = signed if not clear else shown
    words["interval"] = span_text(tongue.spec, style, ends[0], ends[1], tongue.language)
    return _corrected(tongue, r, tongue.say(key, **words))


def none_had(source: Source, tongue: Tongue, r: Row) -> str:
    """That two groups cannot be compared, as in one of them nothing has happened."""
    if note_code(r.note) != NOTHING_YET:
        return ""
    shares = by_name(came_rows(source.results, source.spec, r.segment))
    for name in (name_of(r), r.baseline or ""):
        if not any(came(own).estimate for own in shares.get(name, ())):
            words = {"deed": deed(tongue.spec, tongue.language)}
            for key, value_of in (("level", name_of(r)), ("baseline", r.baseline), ("empty", name)):
                words[key] = group_label(tongue, value_of, r.segment)
            return tongue.say("lives.none_had", **words)
    return ""


def _corrected(tongue: Tongue, r: Row, said: str) -> str:
    """`said`, and that the correction for several comparisons takes it back, where it does."""
    if is_clear(r, tongue.spec) or r.p_adjusted is None or not _beside_zero(r):
        return said
    return tongue.joined([said, tongue.say("lives.corrected", p=p_text(r.p_adjusted))])


def said_of(source: Source, tongue: Tongue, segment: str | None) -> tuple[str, ...]:
    """The differences in words: all of a few groups, the clearest of many.

    In shares, then in mean days; with competing events in shares that had it first, and no means.
    """
    unseen = _unseen(source, tongue, segment)
    if has_competing(source.spec):
        rows = share_gaps(source, segment)
        shares = shares_text(source, tongue, segment) or _none_clear(rows, tongue, segment)
        more = _together(rows, tongue)
        return (*shares, *more, *unseen, *test_text(source, tongue, segment))
    rows = differences(source, segment)
    told = clearest(rows, source.spec)
    said = shares_text(source, tongue, segment)
    said += [difference_text(tongue, r, source) for r in told]
    if not told:
        said += _none_clear(rows, tongue, segment)
    elif any(r.p_value is not None for r in told):
        said.append(tongue.say("lives.counted_full", tau=rows[0].at))
    return (*said, *_together(rows, tongue), *unseen, *test_text(source, tongue, segment))


def _none_clear(rows: Sequence[Row], tongue: Tongue, segment: str | None) -> list[str]:
    if not rows:
        return []
    baseline = group_label(tongue, rows[0].baseline, segment)
    words: dict[str, object] = {"n": len(rows), "baseline": baseline}
    words |= {"day": rows[0].at or "", "deed": deed_first(tongue.spec, tongue.language)}
    return [tongue.say("lives.none_clear", **words)]


def _together(rows: Sequence[Row], tongue: Tongue) -> list[str]:
    """That the intervals of several comparisons hold together, where they do."""
    n = sum(SIMULTANEOUS in (r.method or "") for r in rows)
    return [tongue.say("lives.together", n=n, level=level_of(tongue.spec))] if n > 1 else []


def _unseen(source: Source, tongue: Tongue, segment: str | None) -> list[str]:
    """Why a group has no curve, where its row says so."""
    said = []
    for r in came_rows(source.results, source.spec, segment):
        if r.estimate is None and note_code(r.note) == UNSEEN:
            level = group_label(tongue, name_of(r), segment)
            note = note_text(r.note, tongue.language)
            said.append(tongue.say("lives.unseen", level=level, note=note))
    return list(dict.fromkeys(said))


def share_gaps(source: Source, segment: str | None) -> tuple[Row, ...]:
    """Differences in the share that had the event by the day told first, one a group or arm."""
    spec = source.spec
    if has_competing(spec):
        every = survival_rows(source.results, "incidence_difference", segment)
        rows = [r for r in every if r.term in (None, event_of(spec))]
    else:
        every = survival_rows(source.results, "survival_difference", segment)
        rows = [_turned(r) for r in every]
    day = preferred(rows, spec)
    return tuple(r for r in rows if r.at == day and r.estimate is not None)


def _turned(r: Row) -> Row:
    """A difference in the share without the event as one in the share that had it."""
    gap, low, high = (None if e is None else -e for e in (r.estimate, r.ci_high, r.ci_low))
    return dataclasses.replace(r, estimate=gap, ci_low=low, ci_high=high)


def shares_text(source: Source, tongue: Tongue, segment: str | None) -> list[str]:
    """The shares by one day and their difference: of the groups that differ most."""
    known = clearest(share_gaps(source, segment), source.spec)
    return [said for r in known if (said := share_text(source, tongue, r))]


def share_text(source: Source, tongue: Tongue, r: Row) -> str:
    """The shares of a group and its reference by one day, and their difference."""
    day = bounds(r.at)[1]
    curves = came_rows(source.results, source.spec, r.segment)
    own, base = (
        share_by([c for c in curves if name_of(c) == name], day)
        for name in (name_of(r), r.baseline)
    )
    if own is None and base is None:
        return ""
    gap = r.estimate or 0.0
    a = came(own).estimate if own is not None else None
    b = came(base).estimate if base is not None else None
    a = a if a is not None else (b or 0.0) + gap
    b = b if b is not None else a - gap
    low, high = r.ci_low, r.ci_high
    change = measure("difference", "proportion", low, high)
    plain = dataclasses.replace(change, signed=False, unit="percent")
    words = {
        "level": group_label(tongue, name_of(r), r.segment),
        "baseline": group_label(tongue, r.baseline, r.segment),
        "a": plain.text(a, tongue.language),
        "b": plain.text(b, tongue.language),
        "deed": deed_first(tongue.spec, tongue.language),
        "change": change.text(gap, tongue.language),
        "interval": span_text(tongue.spec, change, low, high, tongue.language),
    }
    if not has_competing(source.spec):
        return tongue.say("lives.by_day", day=day, **words)
    return _corrected(tongue, r, tongue.say("lives.by_day_first", day=day, **words))


def clearest(rows: Sequence[Row], spec: Spec) -> tuple[Row, ...]:
    """All rows of a few groups; of many those that are clear, the clearest first."""
    if len(rows) <= FEW:
        return tuple(rows)
    clear = sorted((r for r in rows if is_clear(r, spec)), key=lambda r: r.p_value or 0.0)
    return tuple(clear[:MOST_SAID])


def test_text(source: Source, tongue: Tongue, segment: str | None) -> tuple[str, ...]:
    """Whether the groups differ at all, by the log-rank test, the plain one where there are two.

    With competing events by Gray's test of the share that had the event first.
    """
    spec, gray = source.spec, has_competing(source.spec)
    rows = source.results.where(estimand="gray" if gray else "log_rank", segment=segment).rows
    first = event_of(spec) if gray else "plain"
    known = [r for r in rows if r.p_value is not None and (not gray or r.term == first)]
    known.sort(key=lambda r: r.term != first)
    if not known:
        return ()
    p = known[0].p_value or 0.0
    found = "differ" if p < spec.inference.alpha else "same"
    words = {
        "p": p_text(p),
        "test": tongue.say("lives.test.gray" if gray else "lives.test.log_rank"),
        "segment": split_label(spec, segment, tongue.language),
    }
    return (tongue.say(f"lives.{'arms_' if segment is None else ''}{found}", **words),)


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each group or arm."""
    found: dict[str, list[Row]] = {}
    for r in rows:
        found.setdefault(name_of(r), []).append(r)
    return found


def share_by(rows: Sequence[Row], day: int) -> Row | None:
    """The row that holds on `day`; None where the curve begins later or ends before."""
    known = [r for r in rows if r.estimate is not None]
    before = [r for r in known if bounds(r.at)[1] <= day]
    after = [r for r in known if bounds(r.at)[1] >= day]
    return max(before, key=lambda r: bounds(r.at)[1]) if before and after else None
