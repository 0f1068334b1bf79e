"""The events of a file in; the rows of a table that metrics count, filtered and told apart, out."""

from __future__ import annotations

from retention_lab.data.relations import condition, known_time
from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.experiment.spec import Spec

ONCE = "first of its event"  # with spaces, as no metric's name can have them


def filtered(source: Source, spec: Spec, name: str) -> str:
    """The reference of the rows of events `name` that meet its `where`, every line by itself."""
    table = spec.data.events[name]
    if table.where is None:
        return table.table
    rows = f"(from {source.scan(table.table)} where {condition(table)})"
    return source.define(f"events:{name}", rows)


def counted_rows(source: Source, spec: Spec, name: str) -> str:
    """The reference of the same rows where lines that share a number (`id`) are one event.

    All of them have the first of their times, so that they are in a window together, and `ONCE` is
    true in one of them. A line without a number belongs to those of its unit at the same time; one
    without a time, or after the last complete day, is in no event. Without an `id` every row is an
    event, and there is no column `ONCE`. (Lines stay apart: a missing value is then one of a line,
    as it is without an `id`.)
    """
    table, assigned = spec.data.events[name], spec.design
    if table.id is None or assigned is None or assigned.unit is None:
        return filtered(source, spec, name)
    at, number = quoted(table.at), quoted(table.id)
    kept = [condition(table), known_time(table.at)]
    if spec.data.as_of is not None:
        kept.append(f"{at}::date <= date '{spec.data.as_of}'")
    alone = f"case when {number} is null then {at} end"
    rows = (
        f"(select * replace (min({at}) over event as {at}), "
        f"row_number() over event = 1 as {quoted(ONCE)} "
        f"from (from {source.scan(table.table)} where {' and '.join(kept)}) "
        f"window event as (partition by {quoted(assigned.unit)}, {number}, {alone}))"
    )
    return source.define(f"events:{name} by {table.id}", rows)


def said_of(spec: Spec, names: frozenset[str]) -> dict[str, dict[str, str]]:
    """By name of events, what is said of their rows; only those of which something is."""
    said = {n: spec.data.events[n] for n in sorted(names) if n in spec.data.events}
    found = {n: t.model_dump(include={"where", "id"}, exclude_none=True) for n, t in said.items()}
    return {n: what for n, what in found.items() if what}
