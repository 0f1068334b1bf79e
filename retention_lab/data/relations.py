"""A survival section and the tables of a file in; SQL for its units and what happened to them out.

A unit begins at its origin and is followed by calendar days in the file's zone until the last
complete day. SQL is text, to be sent in one query by `retention_lab.data.lives`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from retention_lab.data.source import Source
from retention_lab.data.sql import literal, quoted
from retention_lab.experiment.needs import MISSING_LEVEL
from retention_lab.experiment.sections import (
    CUSTOMERS,
    EVENT,
    EXISTING,
    EXPOSURE,
    NEW,
    ORIGIN,
    PROMOTION,
    REST,
)
from retention_lab.experiment.spec import Events, Spec, Survival

EPOCH = "date '1970-01-01'"
COHORTS = {
    "day": "strftime({day}, '%Y-%m-%d')",
    "week": "strftime({day}, '%G-W%V')",
    "month": "strftime({day}, '%Y-%m')",
    "quarter": "strftime({day}, '%Y-Q') || quarter({day})",
    "year": "strftime({day}, '%Y')",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Relations:
    """SQL of two relations, in the order in which one query names them, and the names of keys.

    `unit` has one row a unit: id, cohort (text), origin (days since 1970-01-01), last (its age on
    the last complete day), entry (null, or the age after which it is seen), ``origin at``
    (microseconds), and ``key 0``, ``key 1`` ... for the names in `keys`.
    `happening`, which reads the relation ``unit``, has one row for what happened to a unit at an
    age in days (entry < age <= last): id, age, kind, value. Its kind is ``event``, ``origin``
    (the same events on the origin's own day), or the name of a competing event.
    """

    unit: str
    happening: str
    keys: tuple[str, ...]


def relations_of(spec: Spec, source: Source, arms: Sequence[str] = ()) -> Relations:
    """The relations of the checked `spec`. `arms` are those whose units count."""
    survival = checked(spec)
    seen = f"select u.id, {age_of()} as age, {kind_of(spec, source)} as kind, e.value, u.entry"
    seen += f" from unit u join ({happened(spec, source)}) e using (id)"
    happening = (
        f"select id, age, kind, value from ({seen}) "
        "where kind is not null and age > coalesce(entry, -1)"
    )
    return Relations(unit_of(spec, source, arms), happening, keys_of(spec, survival))


def checked(spec: Spec) -> Survival:
    """The survival section; AttributeError would hide that there is none."""
    if spec.survival is None:
        raise ValueError(f"{spec.name} has no survival section")
    return spec.survival


def keys_of(spec: Spec, survival: Survival) -> tuple[str, ...]:
    """What units are split by beside their cohort."""
    made = [spec.design.arm] if spec.design is not None and survival.origin == EXPOSURE else []
    made += [PROMOTION] if survival.promotion else []
    made += [CUSTOMERS] if survival.existing else []
    return tuple(dict.fromkeys([*made, *survival.by, *survival.columns]))


def unit_id(spec: Spec) -> str:
    """The column of the customer's id, the same in every table."""
    named = checked(spec).unit or (spec.design.unit if spec.design is not None else None)
    assert named is not None
    return named


def home(spec: Spec) -> tuple[str, str | None] | None:
    """The table with one row a unit and its time column, if the file names one."""
    if spec.data.assignments is not None:
        return spec.data.assignments.table, spec.data.assignments.at
    return (spec.data.units, None) if spec.data.units is not None else None


def split_columns(spec: Spec, source: Source) -> tuple[list[str], list[str]]:
    """The columns of `by` and covariates: those of the units' table, and those of first events."""
    survival = checked(spec)
    wanted = list(dict.fromkeys([*survival.by, *survival.columns]))
    if spec.design is not None and survival.origin == EXPOSURE:
        wanted = [c for c in wanted if c != spec.design.arm]
    table = home(spec)
    known = source.columns(table[0]) if table is not None else {}
    return [c for c in wanted if c in known], [c for c in wanted if c not in known]


def used_events(survival: Survival) -> tuple[str, ...]:
    """The names of all event tables that the section reads."""
    named = (survival.first, survival.waits_for, *survival.competing)
    return tuple(dict.fromkeys(n for n in named if n is not None))


def known_id(source: Source, ref: str, unit: str) -> str:
    """SQL for whether a row has an id: not null, not NaN, not empty."""
    name, kind = quoted(unit), source.columns(ref).get(unit)
    odd = f" and not isnan({name})" if unit in source.fractional(ref) else ""
    return f"{name} is not null{odd}" + (f" and {name}::varchar <> ''" if kind == "text" else "")


def known_time(at: str) -> str:
    """SQL for whether a row has a time."""
    return f"{quoted(at)} is not null and isfinite({quoted(at)})"


def condition(table: Events) -> str:
    """SQL for the rows that the file lets count; the new line ends a comment."""
    return f"({table.where}\n)" if table.where else "true"


def number_of(source: Source, ref: str, value: str) -> str:
    """SQL for a value, which is a column or an expression, as a finite number or null."""
    name = quoted(value) if value in source.columns(ref) else f"({value}\n)"
    return f"case when isfinite({name}::double) then {name}::double end"


def day_of(at: str) -> str:
    """SQL for the calendar day of a time in the file's zone, in days since 1970-01-01."""
    return f"({Source.day(at)})::integer"


def events_of(
    spec: Spec, source: Source, name: str, *, value: str | None = None, columns: Iterable[str] = ()
) -> str:
    """SQL for the events `name` until the last complete day: id, day, moment, value, "c 0", ...

    Rows that share a number (`id` of the table) are one event, at its first time, with the sum
    of its values and the least of each of `columns`.
    """
    table = spec.data.events[name]
    number = number_of(source, table.table, value) if value else "null::double"
    extra = {f"c {i}": quoted(c) for i, c in enumerate(columns)}
    kept = [condition(table), known_id(source, table.table, unit_id(spec)), known_time(table.at)]
    kept.append(f"{quoted(table.at)}::date <= date '{spec.data.as_of}'")
    own = f", {quoted(table.id)} as number" if table.id else ""
    rows = (
        f"select {quoted(unit_id(spec))} as id, {day_of(table.at)} as day, "
        f"{source.instant(table.table, table.at)} as moment, {number} as value{own}"
        f"{_listed(extra)} from (from {source.scan(table.table)} where {' and '.join(kept)})"
    )
    if not table.id:
        return rows
    least = _listed({c: f"min({quoted(c)})" for c in extra})
    return (
        f"select id, min(day) as day, min(moment) as moment, sum(value) as value{least} "
        f"from ({rows}) group by id, number, case when number is null then moment end"
    )


def _listed(columns: Mapping[str, str]) -> str:
    return "".join(f", {sql} as {quoted(name)}" for name, sql in columns.items())


def unit_of(spec: Spec, source: Source, arms: Sequence[str]) -> str:
    """SQL of the relation ``unit``; see `Relations`."""
    survival = checked(spec)
    own, first = split_columns(spec, source)
    table = home(spec)
    joins = ""
    if survival.first is None:
        begun = _own_origin(spec, source, arms, own)
    else:
        begun = _first_origin(spec, source, str(survival.first), first)
        if own:
            assert table is not None
            columns = _listed({f"own {i}": quoted(c) for i, c in enumerate(own)})
            joins = (
                f" left join (select {quoted(unit_id(spec))} as id{columns} "
                f"from {source.scan(table[0])}) using (id)"
            )
    if survival.existing is True:
        earlier = events_of(spec, source, survival.waits_for)
        joins += f" left join (select id, min(moment) as since from ({earlier}) group by id)"
        joins += " using (id)"
    age = f"(date '{spec.data.as_of}' - {EPOCH})::integer - origin"
    entry = "null::integer"
    if survival.start is not None:
        late = f"(date '{survival.start}' - {EPOCH})::integer - origin - 1"
        entry = f"case when {late} >= 0 then {late} end"
    cohort = COHORTS[survival.cohorts].format(day=f"({EPOCH} + origin)")
    keys = _listed({f"key {i}": k for i, k in enumerate(_levels(spec, source, own, first))})
    return (
        f"select id, {cohort} as cohort, origin, {age} as last, {entry} as entry, "
        f'"origin at"{keys} from ({begun}){joins}'
    )


def _own_origin(spec: Spec, source: Source, arms: Sequence[str], own: Sequence[str]) -> str:
    """SQL for origins that stand in the units' own table: an exposure, or a column."""
    survival, table = checked(spec), home(spec)
    assert table is not None
    ref, at = table[0], survival.origin
    columns = {f"own {i}": quoted(c) for i, c in enumerate(own)}
    kept = [known_id(source, ref, unit_id(spec))]
    if survival.origin == EXPOSURE:
        assert spec.design is not None
        at = str(table[1])
        columns["arm"] = f"{quoted(spec.design.arm)}::varchar"
        kept.append(f"{columns['arm']} in ({', '.join(literal(a) for a in arms) or 'null'})")
    kept += [known_time(at), f"{quoted(at)}::date <= date '{spec.data.as_of}'"]
    return (
        f"select {quoted(unit_id(spec))} as id, {day_of(at)} as origin, "
        f'{source.instant(ref, at)} as "origin at"{_listed(columns)} '
        f"from (from {source.scan(ref)} where {' and '.join(kept)})"
    )


def _first_origin(spec: Spec, source: Source, name: str, columns: Sequence[str]) -> str:
    """SQL for each unit's first event, with the columns' values there: the least at that time."""
    begun = (
        f'select id, min(day) as origin, min(moment) as "origin at" '
        f"from ({events_of(spec, source, name)}) group by id"
    )
    if not columns:
        return begun
    # Not min(struct_pack(moment, value)): its states cannot be spilled to disk.
    events = events_of(spec, source, name, columns=columns)
    values = _listed({f"first {i}": f"min(e.{quoted(f'c {i}')})" for i in range(len(columns))})
    return (
        f'select e.id as id, min(b.origin) as origin, min(b."origin at") as "origin at"{values} '
        f'from ({events}) e join ({begun}) b on e.id = b.id and e.moment = b."origin at" '
        "group by e.id"
    )


def _levels(spec: Spec, source: Source, own: Sequence[str], first: Sequence[str]) -> list[str]:
    """SQL for each key, in the order of `keys_of`."""
    survival = checked(spec)
    made: dict[str, str] = {}
    if spec.design is not None:
        made[spec.design.arm] = "arm"
    periods = "".join(
        f" when {EPOCH} + origin between date '{p.start}' and date '{p.to}' then {literal(p.name)}"
        for p in survival.promotion
    )
    known = 'since < "origin at"'
    if survival.existing is not True:
        known = f"{EPOCH} + origin < date '{survival.existing}'"
    made[CUSTOMERS] = f"case when {known} then '{EXISTING}' else '{NEW}' end"
    # Who was there before was not won by the promotion, and would make its rest another one.
    before = f" when {known} then '{EXISTING}'" if survival.among_new else ""
    made[PROMOTION] = f"case{before}{periods} else {literal(REST)} end"
    place = {c: quoted(f"own {i}") for i, c in enumerate(own)}
    place |= {c: quoted(f"first {i}") for i, c in enumerate(first)}
    return [
        made[k] if k in made and k not in place else level(spec, source, k, place[k])
        for k in keys_of(spec, survival)
    ]


def level(spec: Spec, source: Source, column: str, place: str) -> str:
    """SQL for a level: text, an interval of a number, or a covariate's number itself."""
    survival = checked(spec)
    bins = survival.bins.get(column)
    number = f"case when isfinite({place}::double) then {place}::double end"
    if bins is not None:
        names = [f"{a:g} to {b:g}" for a, b in pairwise(bins)]
        names = [f"below {bins[0]:g}", *names, f"{bins[-1]:g} and more"]
        whens = "".join(
            f" when {number} < {edge!r}::double then {literal(name)}"
            for edge, name in zip(bins, names, strict=False)
        )
        return (
            f"case when ({number}) is null then {literal(MISSING_LEVEL)}{whens} "
            f"else {literal(names[-1])} end"
        )
    if column in survival.columns and column_kind(spec, source, column) == "number":
        return number
    return f"coalesce({place}::varchar, {literal(MISSING_LEVEL)})"


def column_kind(spec: Spec, source: Source, column: str) -> str | None:
    """What a column of `by` or a covariate holds, where it is found; None where it is nowhere."""
    table = home(spec)
    refs = [table[0]] if table is not None else []
    first = checked(spec).first
    if first is not None and first in spec.data.events:
        refs.append(spec.data.events[first].table)
    for ref in refs:
        if column in source.columns(ref):
            return source.columns(ref)[column]
    return None


def happened(spec: Spec, source: Source, ranks: Collection[int] | None = None) -> str:
    """SQL for what the section waits for: id, day, moment, value, rank (0: the event itself)."""
    survival = checked(spec)
    parts = []
    for rank, name in enumerate((survival.waits_for, *survival.competing)):
        if ranks is None or rank in ranks:
            rows = events_of(spec, source, name, value=survival.value if rank == 0 else None)
            parts.append(f"select id, day, moment, value, {rank} as rank from ({rows})")
    return " union all ".join(parts)


def age_of() -> str:
    """SQL for the age, in days, at which an event `e` happened to the unit `u`."""
    return "(e.day - u.origin)"


def kind_of(spec: Spec, source: Source) -> str:
    """SQL for what the event `e` is to the unit `u`; null where it lies before the origin."""
    survival = checked(spec)
    later, on_it = 'e.moment > u."origin at"', 'e.moment >= u."origin at"'

    def since(name: str) -> str:
        if survival.origin == EXPOSURE:
            return later
        if _by_day(spec, source, name):
            return "e.day >= u.origin"
        return on_it if survival.first is not None or name in survival.competing else later

    if survival.own_day == ORIGIN:
        whens = f"when e.rank = 0 and e.day > u.origin then '{EVENT}' "
        whens += f"when e.rank = 0 and e.day = u.origin then '{ORIGIN}'"
    elif survival.first == survival.waits_for:
        whens = f"when e.rank = 0 and {later} then '{EVENT}' when e.rank = 0 then '{ORIGIN}'"
    else:
        whens = f"when e.rank = 0 and {since(survival.waits_for)} then '{EVENT}'"
    for rank, name in enumerate(survival.competing, 1):
        whens += f" when e.rank = {rank} and {since(name)} then {literal(name)}"
    return f"case {whens} end"


def _by_day(spec: Spec, source: Source, name: str) -> bool:
    """Whether the events, or the origin of a cohort study, are known by their day only."""
    survival, table = checked(spec), home(spec)
    if survival.origin == EXPOSURE:
        return False
    columns = [(spec.data.events[name].table, spec.data.events[name].at)]
    if survival.first is not None:
        first = spec.data.events[survival.first]
        columns.append((first.table, first.at))
    elif table is not None:
        columns.append((table[0], survival.origin))
    return any(source.columns(ref).get(at) == "date" for ref, at in columns)
