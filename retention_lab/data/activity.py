"""Retention rows in the engine in; customers active by age and window, and their revenue, out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from retention_lab.data.repeats import daily, members
from retention_lab.data.source import Source
from retention_lab.data.sums import Sums, added, fetch, frame_of, levels_of

if TYPE_CHECKING:
    from retention_lab.data.moments import Moments

MONTH = "month"
RETURNING, REVENUE = "returning", "revenue"
LATE = "entered_late"


class Activity(Sums):
    """The reduction behind retention triangles: customers by the days on which they were active.

    ============ ===================================================================================
    customer     customers; first = second = 0
    last         customers by their age at the last complete day (first)
    day          customers active on day `first` of their age
    final        customers whose last active day is `first`
    bracket      customers active in [first, second) of whom all of these days are complete
    rolling      customers active in the `second` days that end with day N: the sum of the rows with
                 first <= N (so the rows are changes from day to day)
    entered_late customers left out, since they are seen only from a later day on
    ============ ===================================================================================

    There are as many rows as days and definitions, however many customers. A day on which a
    customer has several events counts once. `definition` is JSON: the edges, the windows, and `of`,
    what the days are of.
    """

    __slots__ = ()
    KINDS: ClassVar[tuple[str, ...]] = (
        "customer",
        "last",
        "day",
        "final",
        "bracket",
        "rolling",
        LATE,
    )
    WHAT: ClassVar[str] = "reduction of activity"

    @classmethod
    def of(
        cls,
        last: Any,
        customer: Any,
        age: Any,
        edges: Sequence[int] = (),
        windows: Sequence[int] = (),
        split: Mapping[str, Any] | None = None,
        definition: str = "",
        **levels: Any,
    ) -> Activity:
        """From `last` and levels by customer, and active days: `customer` (a position) and `age`.

        Days after a customer's last one, or before his origin, are left out.
        """
        columns = {k: np.asarray(v) for k, v in {**(split or {}), **levels}.items()}
        ends = np.asarray(last, np.int64)
        who, day = np.asarray(customer, np.int64), np.asarray(age, np.int64)
        used = (day >= 0) & (day <= ends[who])
        who, day = np.unique(np.column_stack([who[used], day[used]]), axis=0).T
        first, final = np.ones(len(who), bool), np.ones(len(who), bool)
        first[1:] = who[1:] != who[:-1]
        final[:-1] = first[1:]
        before = np.where(first, -1, np.roll(day, 1))
        after = np.where(final, np.iinfo(np.int64).max, np.roll(day, -1))
        everyone = np.arange(len(ends))
        rows = [(0, everyone, 0 * ends, 0, 1), (1, everyone, ends, 0, 1), (2, who, day, 0, 1)]
        rows.append((3, who[final], day[final], 0, 1))
        for a, b in _brackets(edges):
            seen = (before < a) & (day >= a) & (day < b) & (ends[who] >= b - 1)
            rows.append((4, who[seen], np.full(int(seen.sum()), a), b, 1))
        for k in _windows(windows):
            end = np.minimum(np.minimum(after, day + k), ends[who] + 1)
            rows += [(5, who, day, k, 1), (5, who, end, k, -1)]
        place = np.concatenate([r[1] for r in rows])
        content = {
            "kind": np.concatenate([np.full(len(r[1]), r[0]) for r in rows]),
            "first": np.concatenate([r[2] for r in rows]),
            "second": np.concatenate([np.full(len(r[1]), r[3]) for r in rows]),
            "total": np.concatenate([np.full(len(r[1]), r[4]) for r in rows]),
        }
        said = _said(edges, windows, definition)
        return cls.compress({k: v[place] for k, v in columns.items()}, content, said)

    @property
    def edges(self) -> tuple[int, ...]:
        """The edges of the brackets that were reduced."""
        return tuple(json.loads(self.definition)["edges"]) if self.definition else ()

    @property
    def windows(self) -> tuple[int, ...]:
        """The lengths in days of the rolling windows that were reduced."""
        return tuple(json.loads(self.definition)["windows"]) if self.definition else ()


def merge(*parts: Activity) -> Activity:
    """The reduction of all customers behind `parts` together, in any order and grouping.

    Raises DataError where they are split by other keys, or not defined alike.
    """
    whole: Activity = added(parts)
    return whole


def count_activity(
    source: Source,
    unit: str,
    happening: str,
    by: Mapping[str, str],
    *,
    edges: Sequence[int] = (),
    windows: Sequence[int] = (),
    kind: str = "event",
    definition: str = "",
) -> Activity:
    """Reduce the retention rows by one query. Only counts leave the engine.

    `unit`, `happening`, `by` and `kind` are those of `count_repeats`; {"month won": "cohort"} makes
    cohorts. `edges` (ascending) part the ages into brackets [edge, next edge), `windows` are the
    lengths in days of the windows that roll. Customers with an `entry` are left out and counted.
    Raises ValueError for edges or windows that do not ascend, DataError for what the engine says.
    """
    found = fetch(source, _query(unit, happening, by, edges, windows, kind))
    columns = {name: found[f"level {i}"] for i, name in enumerate(by)}
    return Activity.compress(columns, found, _said(edges, windows, definition))


def returning_revenue(
    source: Source, unit: str, happening: str, by: Mapping[str, str], definition: str = ""
) -> Moments:
    """Revenue of customers by calendar month and `by`, as `Moments` of two columns a customer.

    "revenue" is all that a customer's happenings of the kinds event and origin brought in the month
    (a missing value is 0), "returning" what events after the day of his origin brought: he had
    ordered on an earlier day. Customers without a happening in a month are not in its cells: they
    add nothing to either sum. Raises DataError for what the engine says.
    """
    from retention_lab.data.reduce import reduce_frame

    value = "coalesce(value, 0.0)"
    text = (
        f"with unit as ({unit}), happening as ({happening}) select * exclude (id) from (select id,"
        " strftime(date '1970-01-01' + (origin + age)::integer, '%Y-%m') as month,"
        f" sum({value})::double as revenue,"
        f" coalesce(sum({value}) filter (kind = 'event' and age > 0), 0.0)::double as returning"
        f"{levels_of(by)} from happening join unit using (id)"
        " where kind in ('event', 'origin') group by all)"
    )
    pairs = ((RETURNING, RETURNING), (REVENUE, REVENUE), (RETURNING, REVENUE))
    return reduce_frame(
        source,
        frame_of(source, text),
        (MONTH, *by),
        pairs,
        definition=definition,
        alike=dict.fromkeys((RETURNING, REVENUE), "all"),
        by=(MONTH, *(f"level {i}" for i in range(len(by)))),
    )


def _query(
    unit: str,
    happening: str,
    by: Mapping[str, str],
    edges: Sequence[int],
    windows: Sequence[int],
    kind: str,
) -> str:
    sums = [
        "select cell, 0 as kind, 0 as first, 0 as second, count(*)::double as total"
        " from whole group by cell",
        "select cell, 1, last, 0, count(*) from whole group by all",
        "select cell, 2, age, 0, count(*) from active group by all",
        "select cell, 3, age, 0, count(*) from active where after is null group by all",
        "select cell, 6, 0, 0, count(*) from member where entry is not null group by all",
    ]
    sums += [
        f"select cell, 4, {a}, {b}, count(*) from active where age >= {a} and age < {b}"
        f" and coalesce(before, -1) < {a} and last >= {b - 1} group by all"
        for a, b in _brackets(edges)
    ]
    for k in _windows(windows):
        end = f"least(coalesce(after, last + 1), age + {k}, last + 1)"
        sums.append(f"select cell, 5, age, {k}, count(*) from active group by all")
        sums.append(f"select cell, 5, {end} as day, {k}, -count(*) from active group by all")
    return (
        f"with unit as ({unit}), happening as ({happening}), {members(by)},"
        " whole as (select * from member where entry is null),"
        f" distinctly as ({daily(kind, '1.0')}),"
        " days as (select d.id, m.cell, m.last, d.age from distinctly as d join whole as m"
        " using (id) where d.age <= m.last and d.age >= 0),"
        " active as materialized (select cell, last, age,"
        " lag(age) over customer as before, lead(age) over customer as after"
        " from days window customer as (partition by id order by age)),"
        f" sums as ({' union all '.join(sums)})"
        f" select sums.* exclude (cell){levels_of(by)} from sums join cells using (cell)"
    )


def _said(edges: Sequence[int], windows: Sequence[int], definition: str) -> str:
    said = {"edges": list(map(int, edges)), "windows": sorted(map(int, windows))}
    return json.dumps({**said, "of": definition}, sort_keys=True)


def _brackets(edges: Sequence[int]) -> list[tuple[int, int]]:
    if any(a >= b for a, b in pairwise(edges)) or any(e < 0 or e != int(e) for e in edges):
        raise ValueError(f"edges must be ascending whole days from 0 on, not {tuple(edges)}")
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def _windows(windows: Sequence[int]) -> list[int]:
    if any(k < 1 or k != int(k) for k in windows) or len(set(windows)) < len(windows):
        raise ValueError(f"windows must be whole days of 1 or more, each once, not {windows}")
    return [int(k) for k in windows]
