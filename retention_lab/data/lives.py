"""A plan with a survival section in; its `LifeTable`, and columns of its relations, out."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention_lab.data.passes import shares_of
from retention_lab.data.relations import (
    Relations,
    age_of,
    checked,
    happened,
    keys_of,
    kind_of,
    relations_of,
    used_events,
)
from retention_lab.errors import DataError
from retention_lab.experiment.sections import COHORT, EXPOSURE, ORIGIN
from retention_lab.experiment.spec import Spec

if TYPE_CHECKING:
    from retention_lab.data.lifetable import LifeTable
    from retention_lab.data.source import Source
    from retention_lab.experiment.plan import Plan

MEANING = (
    "origin", "event", "cohorts", "by", "competing", "covariates", "start", "promotion", "existing",
)  # fmt: skip
BEFORE = "event_before_from"
NEVER_SEEN = "never_observed"


def lives(plan: Plan) -> LifeTable:
    """The life table of the plan's rows, or its saved ones, merged.

    Times are whole calendar days since each unit's origin. Causes are ``event`` and the competing
    events, whichever comes first; of one day the event first, then in the file's order. Units
    without any are censored at the horizon, or at their age on the last complete day. `notes`
    counts what was left out, or is odd, in the tables. Rows stay in the engine. Many customers
    are reduced in several queries, see passes.py: memory grows with the customers of one.

    Raises DataError where a table cannot be read, or saved tables do not fit together or the file.
    """
    if plan.spec.data.lives:
        tables = [table for table in plan.inputs if table.name.startswith("lives.")]
        return saved(plan.spec, [path for table in tables for path in table.paths])
    from retention_lab.data.lifetable import merge

    parts = [_counted(plan, share) for share in shares_of(plan)]
    whole = merge(*parts) if len(parts) > 1 else parts[0]
    found = plan.cohort.notes if plan.cohort is not None else {}
    return dataclasses.replace(whole, notes=dict(sorted({**found, **whole.notes}.items())))


def _counted(plan: Plan, source: Source) -> LifeTable:
    """The life table of the customers in `source`, without what the plan found of all."""
    import numpy as np

    from retention_lab.data.lifetable import LifeTable
    from retention_lab.data.sums import plain

    survival = checked(plan.spec)
    found = ask(plan, _counts(plan.spec, source), source=source)
    cause, start, stop = (np.asarray(found[c]) for c in ("cause", "entry", "stop"))
    size = np.asarray(found["n"])
    out = {BEFORE: (cause > 0) & (stop <= start), NEVER_SEEN: (cause == 0) & (stop <= start)}
    kept = stop > start
    names = (COHORT, *keys_of(plan.spec, survival))
    split = {name: plain(found[f"level {i}"])[kept] for i, name in enumerate(names)}
    return LifeTable.of(
        stop[kept],
        cause[kept],
        n=size[kept],
        start=start[kept],
        causes=survival.kinds,
        split=split,
        definition=definition(plan.spec),
        notes={code: int(size[odd].sum()) for code, odd in out.items() if odd.any()},
    )


def relations(plan: Plan, source: Source | None = None) -> Relations:
    """SQL of the plan's units and of what happened to them, for queries of other reductions.

    `source` is one of the plan's shares (`passes.shares_of`); the plan's own where none is given.
    """
    return relations_of(plan.spec, source or plan.source, plan.arms)


def ask(plan: Plan, sql: str, with_: str = "", source: Source | None = None) -> dict[str, Any]:
    """Columns of a query over the relations ``unit`` and ``happening`` as numpy arrays.

    `sql` begins with select; `with_` may give further relations, ``name as (...)``. Nulls are
    masked. `source` is as `relations` takes it. Raises DataError where a table cannot be read.
    """
    import duckdb  # noqa: F401 - Narwhals knows a relation by its package
    import narwhals as nw

    known = relations(plan, source)
    further = f", {with_}" if with_ else ""
    text = f"with unit as ({known.unit}), happening as ({known.happening}){further} {sql}"
    connection = plan.source.connection
    if connection.execute("select current_setting('temp_directory')").fetchall() == [(".tmp",)]:
        folder = str(Path(tempfile.gettempdir()) / f"retention-lab-{os.getpid()}")
        connection.execute("set temp_directory = $folder", {"folder": folder})
    return plan.source.arrays(nw.from_native(connection.sql(text)))


def definition(spec: Spec) -> str:
    """What the times, causes and splits of a life table mean, as JSON: equal where they merge."""
    survival = checked(spec)
    said = survival.model_dump(mode="json", by_alias=True, include=set(MEANING))
    said["same_day"] = survival.own_day
    said["horizon"] = survival.days
    events = {
        name: {"where": spec.data.events[name].where, "id": spec.data.events[name].id}
        for name in used_events(survival)
        if name in spec.data.events
    }
    said |= {"as_of": str(spec.data.as_of), "timezone": spec.data.timezone, "events": events}
    if survival.among_new:
        said["rest"] = "new customers"
    if survival.origin == EXPOSURE and spec.design is not None:
        said["arm"] = spec.design.arm
    return json.dumps(said, sort_keys=True)


def _counts(spec: Spec, source: Source) -> str:
    """The query: units by cell, entry, stop and cause.

    Events are joined to their units once, and each unit keeps the least of age x causes + cause: a
    number, since text in the states of a GROUP BY cannot be spilled to disk.
    """
    survival = checked(spec)
    kinds = len(survival.kinds)
    levels = ["cohort", *(f'"key {i}"' for i in range(len(keys_of(spec, survival))))]
    waited = (
        f"select u.id, min({age_of()}::bigint * {kinds} + e.rank) as code "
        f"from unit u join ({happened(spec, source)}) e using (id) "
        f"where {kind_of(spec, source)} <> '{ORIGIN}' group by u.id"
    )
    followed = (
        f"select unit.*, least(last, {survival.days}) as until, code "
        f"from unit left join ({waited}) using (id)"
    )
    happens = f"code // {kinds} <= until"
    named = ", ".join(f'{c} as "level {i}"' for i, c in enumerate(levels))
    return (
        f"select {named}, coalesce(entry, '-inf'::double)::double as entry, "
        f"(case when {happens} then code // {kinds} else until end)::double as stop, "
        f"(case when {happens} then code % {kinds} + 1 else 0 end)::integer as cause, "
        f"count(*) as n from ({followed}) group by all"
    )


def saved(spec: Spec, paths: Sequence[Path]) -> LifeTable:
    """The life tables saved at `paths`, merged.

    Raises DataError where they do not fit together, or do not say what the file says.
    """
    from retention_lab.data.lifetable import LifeTable, merge

    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError("data.lives names the same life table twice: its units would count twice")
    tables = [LifeTable.load(path) for path in paths]
    for table in tables:
        held = json.loads(table.definition or "{}").get("kept", {})
        if held.get("dropped") or (held and len(tables) > 1):
            lost = ", ".join(map(repr, held["dropped"] or held["pooled"]))
            what = "is not split by" if held["dropped"] else "has small groups as one by"
            raise DataError(
                f"a saved life table {what} {lost}: the folder of a run keeps no small groups; "
                "start from whole tables, as Cohorts.save writes them"
            )
    whole = merge(*tables)
    said, wanted = json.loads(whole.definition or "{}"), json.loads(definition(spec))
    # Which rows of the tables counted is known to the saved ones only.
    differ = [k for k in wanted if k != "events" and said.get(k) != wanted[k]]
    if differ:
        detail = "; ".join(f"{k}: {said.get(k)} there, {wanted[k]} in the file" for k in differ)
        raise DataError(f"the saved life tables do not fit the file: {detail}")
    return whole
