"""A plan and its reductions in; the groups that are looked at, small ones pooled, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from retention_lab.data import activity, lifetable, repeats
from retention_lab.data.activity import Activity
from retention_lab.data.codes import kind_of
from retention_lab.data.lifetable import LifeTable
from retention_lab.data.repeats import Repeats
from retention_lab.experiment.needs import MISSING_LEVEL
from retention_lab.experiment.sections import (
    COHORT,
    CUSTOMERS,
    EXISTING,
    EXPOSURE,
    PROMOTION,
    REST,
)
from retention_lab.survival.steps import steps

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan

Table = TypeVar("Table", LifeTable, Repeats, Activity)

OTHER = "(other)"
Small = Mapping[str, frozenset[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Everyone, an arm, or one level of a segment, with its customers' life table.

    On the days `hidden` no curve of it is shown, and on the days `waiting` nothing of those who
    still wait on them: see `shown`.
    """

    life: LifeTable
    arm: str | None = None
    segment: str | None = None
    level: str | None = None
    hidden: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()

    @property
    def name(self) -> str | None:
        """The arm or the level."""
        return self.arm if self.arm is not None else self.level

    @property
    def place(self) -> dict[str, str | None]:
        """Its columns in the result table."""
        return {"arm": self.arm, "segment": self.segment, "level": self.level}


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """The days of a curve: from `first` on enough customers are followed, and up to `last`.

    `last` is inf where nobody is at risk after the last day that is shown. `late`: customers were
    not followed from the origin, but from day `first` on only. `covered`: the curve ends where it
    does because a small group would follow from it.
    """

    first: int
    last: float
    late: bool = False
    covered: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One way to split the customers: the key, its groups, and the one they are compared with.

    `reference` is None where groups are only shown beside each other, as cohorts are. Customers
    whose level is in `apart` are not in the view: see `among`.
    """

    key: str
    groups: tuple[Group, ...]
    reference: Group | None = None
    apart: frozenset[str] = frozenset()


def small_levels(life: LifeTable, min_cell: int, keep: str | None) -> Small:
    """By key of text, the levels that are pooled: those with fewer than `min_cell` customers.

    Where these together are too few, the next larger level joins them. The key `keep` (the arm) is
    left alone.
    """
    found = {}
    for key in life.keys:
        if key == keep or kind_of(life.levels[key]) != "text":
            continue
        sizes = sorted((part.size, level) for (level,), part in life.parts(key))
        forced: set[Any] = set()
        if key == PROMOTION and CUSTOMERS in life.keys:
            forced, sizes = _existing(sizes, min_cell)
        few = [(n, level) for n, level in sizes if n < min_cell or level in forced]
        rest = [pair for pair in sizes if pair not in few]
        if few and sum(n for n, _ in few) < min_cell:
            few += rest[:1]
        if few:
            found[key] = frozenset(level for _, level in few)
    return found


def _existing(
    sizes: list[tuple[int, Any]], min_cell: int
) -> tuple[set[Any], list[tuple[int, Any]]]:
    """Levels of the promotion that are pooled in any case, and those that may be.

    New customers are shown as a whole as well, so that a small group of them is pooled with others
    of them: existing ones stand apart. Where these are few, they would follow from all the others,
    and count with the promotion's rest.
    """
    before = sum(n for n, level in sizes if level == EXISTING)
    if before >= min_cell or not before:
        return set(), [pair for pair in sizes if pair[1] != EXISTING]
    return {EXISTING, REST}, sizes


def pooled(table: Table, small: Small) -> Table:
    """The same table with the levels `small` as one, called `OTHER`."""
    levels = dict(table.levels)
    for key in set(small) & set(table.keys):
        new = [OTHER if v in small[key] else v for v in levels[key].tolist()]
        levels[key] = np.array(new, dtype=object)
    return dataclasses.replace(table, levels=levels).by(*table.keys)


def among(table: Table, view: View) -> Table:
    """The customers of `table` that the view is about: all but those of the levels `apart`."""
    if not view.apart:
        return table
    kept = [part for (level,), part in table.parts(view.key) if level not in view.apart]
    merge: Any = {LifeTable: lifetable.merge, Repeats: repeats.merge, Activity: activity.merge}
    whole: Table = merge[type(table)](*kept)
    return whole


def views(plan: Plan, life: LifeTable) -> tuple[View, ...]:
    """The ways to split the customers of `life`, whose small levels are pooled already.

    In an experiment its arms, against the control; else cohorts, then the promotion against the
    rest, and each other key against its largest level. Where the file tells existing customers from
    new ones, the promotion's rest is new customers, and existing ones are not in that view.
    """
    survival, design = plan.spec.survival, plan.spec.design
    min_cell = plan.spec.privacy.min_cell
    assert survival is not None
    if survival.origin == EXPOSURE and design is not None:
        parts = {str(label[0]): part for label, part in life.parts(design.arm)}
        arms = [Group(parts.get(a, life.without_rows()), arm=a) for a in plan.arms]
        shown = _covered(arms, min_cell)
        return (View(design.arm, shown, shown[0]),)
    made = [k for k in (PROMOTION, CUSTOMERS) if k in life.keys]
    keys = [COHORT, *made, *survival.by, *survival.columns]
    found = []
    for key in dict.fromkeys(keys):
        if kind_of(life.levels[key]) != "text":
            continue
        parts = {str(label[0]): part for label, part in life.parts(key)}
        groups = _covered([Group(p, segment=key, level=v) for v, p in parts.items()], min_cell)
        if key == PROMOTION and survival.among_new:
            groups = _new_only(groups, min_cell)
            found.append(View(key, groups, _reference(key, groups), frozenset({EXISTING})))
            continue
        found.append(View(key, groups, _reference(key, groups)))
    return tuple(v for v in found if len(v.groups) > 1 or v.key == COHORT)


def shown(followed: npt.NDArray[Any], min_cell: int, lasting: bool = True) -> npt.NDArray[np.bool_]:
    """Which of `followed` [groups, days] may be shown, where the sum over groups is shown.

    A number below `min_cell` is not, nor what would give it away: on each day those that are not
    shown add up to 0, or to `min_cell` or more. Where they would not, the group with the fewest of
    the others goes as well; `lasting`: from that day on, where numbers of later days would tell
    what happened on this one.
    """
    seen = followed >= min_cell
    over = np.zeros(len(followed), bool)
    for day in range(followed.shape[1]):
        n = followed[:, day]
        seen[:, day] &= ~over
        while 0 < n[~seen[:, day]].sum() < min_cell and seen[:, day].any():
            left = np.flatnonzero(seen[:, day])
            least = left[np.argmin(n[left])]
            seen[least, day] = False
            over[least] = lasting
    return seen


def _covered(groups: Sequence[Group], min_cell: int) -> tuple[Group, ...]:
    """The same groups with the days on which they are not shown."""
    stops = [g.life.stop.max() for g in groups if len(g.life.stop)]
    days = np.arange(int(max(stops, default=0.0)) + 2)
    at_risk = np.array([at_risk_on(g.life, days) for g in groups])
    late = any((g.life.start > -np.inf).any() for g in groups)
    known = at_risk if late else np.array([known_on(g.life, days) for g in groups])
    by_group = zip(
        groups,
        shown(known, min_cell, lasting=not late),
        shown(at_risk, min_cell, lasting=not late),
        strict=True,
    )

    def off(row: npt.NDArray[np.bool_]) -> frozenset[int]:
        return frozenset(np.flatnonzero(~row).tolist())

    return tuple(
        dataclasses.replace(g, hidden=off(curve), waiting=off(few)) for g, curve, few in by_group
    )


def _new_only(groups: Sequence[Group], min_cell: int) -> tuple[Group, ...]:
    """The groups of new customers, covered among themselves as well as among all customers.

    The sum of them is shown, as is that of everyone: neither may tell of a few.
    """
    new = tuple(g for g in groups if g.level != EXISTING)
    new = _covered(new, min_cell) if new else new
    before = {g.level: g for g in groups}
    return tuple(
        dataclasses.replace(
            g,
            hidden=g.hidden | before[g.level].hidden,
            waiting=g.waiting | before[g.level].waiting,
        )
        for g in new
    )


def span(
    at_risk: npt.NDArray[Any],
    start: int,
    min_cell: int,
    hidden: Collection[int] = (),
    followed: npt.NDArray[Any] | None = None,
) -> Span:
    """The days on which a curve may be told, of those at risk on days `start`, `start` + 1, ...

    `followed` are the customers on whom the curve rests on these days, as `followed_on` has them
    (default: those at risk). They grow with late entry only. Where `min_cell` are followed on the
    first day, the curve ends before the first day with fewer, or after the last that is not
    `hidden`. Else it would begin on the first day since which there are as many, up to the day with
    the most at risk.
    """
    enough = (at_risk if followed is None else followed) >= min_cell
    if not enough.any():
        return Span(start, start - 1.0 if at_risk.any() else np.inf)
    if not enough[0]:
        before = np.flatnonzero(~enough[: int(np.argmax(at_risk))])
        return Span(start + int(before[-1]) + 1, np.inf, late=True)
    until = int(np.append(np.flatnonzero(~enough), len(enough))[0])
    told = [day for day in range(start, start + until) if day not in hidden]
    last = told[-1] if told else start - 1
    if not at_risk[last - start + 1 :].any():
        return Span(start, np.inf)
    return Span(start, float(last), covered=last < start + until - 1)


def followed_on(life: LifeTable, days: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How many customers a curve rests on by day, [days]; `life` is one group's.

    Those at risk, divided by the share without any event just before: who has had the event still
    counts, as far as they would still be observed. Without censoring it is everyone on every day.
    An event moves the curve by one in this number, which never grows and is never more than
    `known_on`. Where nobody is left to wait it is what it was on the last day. Where customers
    enter late those at risk are all there is to rest on.
    """
    if (life.start > -np.inf).any():
        return at_risk_on(life, days).astype(np.float64)
    found = steps(life)
    with np.errstate(divide="ignore", invalid="ignore"):
        free = np.cumprod(1.0 - found.total / found.at_risk)
        times = found.at_risk / np.append(1.0, free)[:-1]
    place = np.searchsorted(found.time, days, side="left")
    ended = len(free) > 0 and free[-1] == 0.0
    rests = np.append(times, times[-1] if ended else 0.0)[place]
    return np.asarray(rests + 1e-9, np.float64)


def known_on(life: LifeTable, days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Customers with start < day who are still observed on it, or have had an event before."""
    lost = life.cause == 0
    found = np.zeros(len(days), np.int64)
    for times, n, side in ((life.start, life.n, 1), (life.stop[lost], life.n[lost], -1)):
        order = np.argsort(times)
        before = np.append(0, np.cumsum(n[order]))
        found += side * before[np.searchsorted(times[order], days, side="left")]
    return found


def at_risk_on(life: LifeTable, days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Customers with start < day <= stop."""
    found = np.zeros(len(days), np.int64)
    for times, sign in ((life.stop, 1), (life.start, -1)):
        order = np.argsort(times)
        before = np.append(0, np.cumsum(life.n[order]))
        found += sign * (before[-1] - before[np.searchsorted(times[order], days)])
    return found


def _reference(key: str, groups: tuple[Group, ...]) -> Group | None:
    if key == COHORT or len(groups) < 2:
        return None
    level = reference_of(key, {str(g.level): g.life.size for g in groups})
    return next(g for g in groups if g.level == level)


def reference_of(key: str, sizes: Mapping[str, int]) -> str:
    """The level that others are compared with: the rest of a promotion, or the largest.

    What was pooled, or is missing, is no such level where there is another one, and nor are those
    who were there before a promotion.
    """
    if key == PROMOTION and REST in sizes:
        return REST
    odd = (OTHER, MISSING_LEVEL, *((EXISTING,) if key == PROMOTION else ()))
    known = [v for v in sizes if v not in odd] or list(sizes)
    return max(known, key=lambda level: sizes[level])
