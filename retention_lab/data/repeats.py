"""Retention rows in the engine in; sums over customers and pairs of their days out (`Repeats`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from retention_lab.data.source import Source
from retention_lab.data.sql import literal
from retention_lab.data.sums import Floats, Places, Sums, added, cells_of, fetch, levels_of

Measure = Literal["events", "days", "value"]
MEASURES: Mapping[Measure, str] = {
    "events": "count(*)",
    "days": "1.0",
    "value": "sum(coalesce(h.value, 0.0))",
}


class Repeats(Sums):
    """The reduction for events that repeat: sums over customers, and over pairs of their days.

    A customer i has events n_i(s) on day s, and is at risk on the days of his intervals
    (start, stop]. Each interval is two marks: +1 at its stop and -1 at its start (none where he is
    seen from the beginning on), so that Y_i(s), 1 where he is at risk, is the sum of his marks on
    day s or later. Kept are, by cell, with first <= second where both are of the same sort:

    =========== ============================================= =========================
    customer    customers                                      first = second = 0
    mark        marks, their sum                               first: their day
    event       sum of n_i(s)                                  first: s
    event event sum of n_i(s) n_i(t)                           first: s, second: t
    event mark  sum of n_i(s) x mark                           first: s, second: its day
    mark mark   sum of mark x mark                             their days
    =========== ============================================= =========================

    Whatever is a sum over customers of a square of sums over their own days (the robust variances
    of Lawless and Nadeau 1995 and of Lin, Wei, Yang and Ying 2000) is exact in these. For D days
    there are at most about D^2 sums a cell, however many customers and events.
    """

    __slots__ = ()
    KINDS: ClassVar[tuple[str, ...]] = (
        "customer",
        "mark",
        "event",
        "event event",
        "event mark",
        "mark mark",
    )
    WHAT: ClassVar[str] = "reduction of repeated events"

    @classmethod
    def of(
        cls,
        customer: Any,
        stop: Any,
        events: Any,
        start: Any = None,
        n: Any = None,
        split: Mapping[str, Any] | None = None,
        definition: str = "",
        **levels: Any,
    ) -> Repeats:
        """From arrays of shape (rows,): a row is an interval (start, stop] of one customer.

        `events` (a count, or a value) happened at `stop`; `start` defaults to -inf, which counts an
        event at 0. A customer has as many rows as he needs, with gaps or without; intervals that
        meet are one. `n` is how many customers have this very history (the same in his rows), and
        `split` and `levels` (the same in his rows) give the keys.
        Raises ValueError for shapes that differ, intervals that are empty, overlap or do not end,
        and `n` or levels that differ within a customer.
        """
        split = {k: np.asarray(v) for k, v in {**(split or {}), **levels}.items()}
        given = [np.asarray(stop, np.float64), np.asarray(events, np.float64)]
        size = given[0].shape
        given.append(np.full(size, -np.inf) if start is None else np.asarray(start, np.float64))
        given.append(np.ones(size) if n is None else np.asarray(n, np.float64))
        ids = np.asarray(customer)
        if len(size) != 1 or any(a.shape != size for a in (*given, ids, *split.values())):
            raise ValueError("all columns must have the shape (rows,)")
        end, count, begin, copies = given
        if not (np.all(np.isfinite(end)) and np.all(begin < end) and np.all(np.isfinite(count))):
            raise ValueError("every row needs a finite stop after its start, and finite events")
        _, row, code = np.unique(ids, return_index=True, return_inverse=True)
        for values in (copies, *split.values()):
            first = values[row][code]
            if np.any((values != first) & ((values == values) | (first == first))):
                raise ValueError("a customer has rows with different levels or n")
        order = np.lexsort((end, code))
        again = code[order][1:] == code[order][:-1]
        if np.any(again & (begin[order][1:] < end[order][:-1])):
            raise ValueError("a customer has intervals that overlap")
        late = np.isfinite(begin)
        marks = _summed(
            np.concatenate([code, code[late]]),
            np.concatenate([end, begin[late]]),
            np.concatenate([np.ones(len(end)), -np.ones(int(late.sum()))]),
        )
        happened = _summed(code[count != 0], end[count != 0], count[count != 0])
        weight = copies[row]
        rows = [_first(0, np.arange(len(row)), np.zeros(len(row)), np.ones(len(row)))]
        rows += [_first(1, *marks), _first(2, *happened)]
        rows += [
            _pairs(3, happened, happened),
            _pairs(4, happened, marks),
            _pairs(5, marks, marks),
        ]
        kind, who, one, two, total = (np.concatenate(c) for c in zip(*rows, strict=True))
        content = {"kind": kind, "first": one, "second": two, "total": total * weight[who]}
        columns = {k: v[row][who] for k, v in split.items()}
        return cls.compress(columns, content, definition)


def merge(*parts: Repeats) -> Repeats:
    """The reduction of all customers behind `parts` together, in any order and grouping.

    Raises DataError where they are split by other keys, or not defined alike.
    """
    whole: Repeats = added(parts)
    return whole


def count_repeats(
    source: Source,
    unit: str,
    happening: str,
    by: Mapping[str, str],
    *,
    measure: Measure = "events",
    kind: str = "event",
    ends: Sequence[str] = (),
    until: int | None = None,
    definition: str = "",
) -> Repeats:
    """Reduce the retention rows by one query. Only sums leave the engine.

    `unit` and `happening` are SELECT texts with the columns of `data.lives`; the second may name
    the first. `by` maps the names of keys to columns of `unit`. `measure` counts events, or days
    with an event (at most one a day), or adds their value (a missing one is 0).
    Customers are at risk up to their `last` day (or `until`, where that is earlier), even after
    another kind of event: the mean is per customer who began. Kinds in `ends` end the time at risk,
    their own day included: then it is the mean while none of them has happened.
    Raises DataError where the engine cannot answer.
    """
    text = _query(unit, happening, by, MEASURES[measure], kind, ends, until)
    found = fetch(source, text)
    columns = {name: found[f"level {i}"] for i, name in enumerate(by)}
    return Repeats.compress(columns, found, definition)


def members(by: Mapping[str, str], ends: Sequence[str] = (), until: int | None = None) -> str:
    """SQL: the CTEs ``cells`` and ``member`` (id, cell, entry, last) of customers at risk."""
    cells, joined = cells_of(by)
    last = "unit.last" if until is None else f"least(unit.last, {int(until)})"
    over = ""
    if ends:
        names = ", ".join(literal(e) for e in ends)
        over = (
            f" left join (select id, min(age) as age from happening where kind in ({names})"
            " group by id) as over using (id)"
        )
        last = f"least({last}, coalesce(over.age, unit.last))"
    return (
        f"{cells}, member as (select * from (select unit.id, cell, unit.entry, {last} as last"
        f" from unit join {joined}{over}) where entry is null or entry < last)"
    )


def daily(kind: str, measure: str) -> str:
    """SQL: id, age and n of the days on which a customer has events of `kind`."""
    return (
        f"select h.id, h.age, {measure}::double as n from happening as h"
        f" where h.kind = {literal(kind)} group by h.id, h.age"
    )


def _query(
    unit: str,
    happening: str,
    by: Mapping[str, str],
    measure: str,
    kind: str,
    ends: Sequence[str],
    until: int | None,
) -> str:
    late = "from member where entry is not null"
    sums = (
        "select cell, 0 as kind, 0 as first, 0 as second, count(*)::double as total"
        " from member group by cell",
        "select cell, 1, last, 0, count(*) from member group by all",
        f"select cell, 1, entry, 0, -count(*) {late} group by all",
        "select cell, 2, age, 0, sum(n) from counted group by all",
        "select cell, 3, age, age, sum(n * n) from counted group by all",
        "select cell, 3, one.day, two.day, sum(one.n * two.n)"
        " from (select cell, one, unnest(days) as two from apart) where two.day > one.day"
        " group by all",
        "select cell, 4, age, last, sum(n) from counted group by all",
        "select cell, 4, age, entry, -sum(n) from counted where entry is not null group by all",
        "select cell, 5, last, last, count(*) from member group by all",
        f"select cell, 5, entry, entry, count(*) {late} group by all",
        f"select cell, 5, entry, last, -count(*) {late} group by all",
    )
    return (
        f"with unit as ({unit}), happening as ({happening}), {members(by, ends, until)},"
        f" daily as ({daily(kind, measure)}),"
        " counted as materialized (select id, m.cell, m.entry, m.last, d.age, d.n from daily as d"
        " join member as m using (id) where d.age <= m.last and d.age > coalesce(m.entry, -1)),"
        " several as (select any_value(cell) as cell, list({'day': age, 'n': n}) as days"
        " from counted group by id having count(*) > 1),"
        " apart as (select cell, days, unnest(days) as one from several),"
        f" sums as ({' union all '.join(sums)})"
        f" select sums.* exclude (cell){levels_of(by)} from sums join cells using (cell)"
    )


def _summed(who: Places, day: Floats, value: Floats) -> tuple[Places, Floats, Floats]:
    """Sums by customer and day, sorted, without those that are 0."""
    order = np.lexsort((day, who))
    who, day, value = who[order], day[order], value[order]
    if not len(who):
        return who, day, value
    begin = np.flatnonzero(np.append(True, (who[1:] != who[:-1]) | (day[1:] != day[:-1])))
    total = np.add.reduceat(value, begin)
    return who[begin][total != 0], day[begin][total != 0], total[total != 0]


_Rows = tuple[Places, Places, Floats, Floats, Floats]  # kind, customer, first, second, total


def _first(kind: int, who: Places, day: Floats, value: Floats) -> _Rows:
    return np.full(len(who), kind), who, day, np.zeros(len(who)), value


def _pairs(
    kind: int, one: tuple[Places, Floats, Floats], two: tuple[Places, Floats, Floats]
) -> _Rows:
    """All pairs of days of the same customer; of days of the same sort those in order."""
    begin = np.searchsorted(two[0], one[0], side="left")
    count = np.searchsorted(two[0], one[0], side="right") - begin
    left = np.repeat(np.arange(len(one[0])), count)
    right = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count) + begin[left]
    if one is two:
        kept = left <= right
        left, right = left[kept], right[kept]
    total = one[2][left] * two[2][right]
    return np.full(len(left), kind), one[0][left], one[1][left], two[1][right], total
