"""A survival section and its real tables in; what was found, and every fault, out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from retention_lab.data.followed import (
    TableLook,
    UnitsLook,
    different,
    look_at_cohorts,
    look_at_rows,
    repeated,
)
from retention_lab.data.passes import passes
from retention_lab.data.relations import (
    checked,
    column_kind,
    home,
    keys_of,
    used_events,
)
from retention_lab.data.source import Source
from retention_lab.errors import PlanError, counted
from retention_lab.experiment.cohort_columns import CohortColumns
from retention_lab.experiment.findings import Check, Findings, Input
from retention_lab.experiment.sections import EXPOSURE
from retention_lab.experiment.spec import Events, Spec, hours

MOST_LEVELS = 200  # of a column in `by`
MOST_TEXTS = 50  # levels of a covariate that is text
MOST_PATTERNS = 200_000  # combinations of cohort, arm, levels and covariates
MOST_NAMED = 8  # levels that count as one
GAP = 7  # days without events before as_of, from which on as_of looks wrong


@dataclasses.dataclass(frozen=True, slots=True)
class Cohort:
    """What the plan found: units with an origin, and by code what was left out, or is odd.

    A code may name its table or column after a stroke: ``rows_without_unit/orders``. `passes` is
    in how many shares of customers the tables are to be reduced. `tables` counts the rows of each
    table, its customers, and its rows without one, before any condition: ``table_rows/o.parquet``;
    ``table_values/invoice/o.parquet`` how many values an event's number, or a split, has there.
    """

    units: int
    notes: Mapping[str, int]
    arms: tuple[str, ...] = ()  # of saved life tables
    passes: int = 1
    tables: Mapping[str, int] = dataclasses.field(default_factory=dict)


def merged(sizes: Mapping[str, int], min_cell: int) -> list[str]:
    """The levels that count as one group: the small ones, and the next larger where they are few.

    As `retention_lab.survival.views.small_levels`; none where there is nobody to hide from, as
    all customers together are too few or are of one level.
    """
    order = sorted(sizes, key=lambda level: (sizes[level], level))
    few = [level for level in order if sizes[level] < min_cell]
    if len(sizes) < 2 or sum(sizes.values()) < min_cell or not few:
        return []
    if sum(sizes[level] for level in few) < min_cell:
        few = order[: len(few) + 1]
    return sorted(few)


class CohortChecker(Findings):
    """Holds a survival section against its tables."""

    def __init__(self, spec: Spec, source: Source, arms: Sequence[str]) -> None:
        super().__init__(spec, source)
        self.arms, self.data = arms, spec.data
        self.survival = checked(spec)
        self.notes: dict[str, int] = {}
        self.tables: dict[str, int] = {}
        self.customers, self.events = 0, 0  # of all tables, the most and the sum
        self.last: dt.date | None = None  # day of the last event

    def run(self) -> Cohort:
        """Look at every table that the section reads; raises PlanError."""
        if self.data.lives:
            return self._saved()
        columns = CohortColumns(self.spec, self.source)
        columns.run()
        self.inputs = columns.inputs
        self._rows()
        self._stop()
        return self._units()

    def _left_out(self, code: str, count: int, text: str) -> None:
        """Say what was left out, and keep its count for the life table."""
        if count:
            self.notes[code] = count
            self._note(code.partition("/")[0], text)

    def _saved(self) -> Cohort:
        from retention_lab.data.lives import saved

        self._read({f"lives.{i}": ref for i, ref in enumerate(self.data.lives)})
        paths = [path for table in self.inputs for path in table.paths]
        whole = saved(self.spec, paths)
        text = f"{counted(whole.size, 'customer')} in {counted(len(paths), 'saved life table')}"
        self._note("rows", f"{text}; no row is read")
        arm = self.spec.design.arm if self.spec.design is not None else ""
        arms = [str(a) for a in whole.levels[arm]] if arm in whole.keys else []
        return Cohort(whole.size, whole.notes, tuple(sorted(set(arms))))

    def _rows(self) -> None:
        """One scan of each table of events; what is left out of it is said."""
        table = home(self.spec)
        if table is not None:
            self._one_row_each(table[0])
        if table is not None and not self.survival.first:
            self._look("units" if table[1] is None else "assignments", table[0])
        for event in used_events(self.survival):
            look = self._look(event, self.data.events[event].table, self.data.events[event])
            self.last = max(filter(None, (self.last, look.last)), default=None)

    def _one_row_each(self, ref: str) -> None:
        twice = repeated(self.spec, self.source, ref)
        if twice:
            self.fatal.append(
                f"{counted(twice, 'customer')} of {ref} in more than one row: "
                "keep one row a customer"
            )

    def _look(self, name: str, ref: str, events: Events | None = None) -> TableLook:
        at = events.at if events is not None else self.survival.origin
        if events is None and self.survival.origin == EXPOSURE:
            assert self.data.assignments is not None
            at = self.data.assignments.at
        look = look_at_rows(self.spec, self.source, ref, at, events)
        unit = self.survival.unit or (self.spec.design and self.spec.design.unit)
        if look.rows == 0:
            self.fatal.append(f"{ref} has no rows")
            return look
        rows = f"{look.rows:,} rows of {ref}"
        sizes = {"rows": look.rows, "customers": look.everyone, "without_unit": look.bare}
        self.tables |= {f"table_{what}/{ref}": n for what, n in sizes.items() if n}
        self._left_out(
            f"rows_without_unit/{name}", look.without_unit,
            f"{name}: {look.without_unit:,} of {rows} without {unit!r} are left out",
        )  # fmt: skip
        self._left_out(
            f"rows_not_counted/{name}", look.others,
            f"{name}: {look.others:,} of {rows} do not meet {events and events.where!r}",
        )  # fmt: skip
        self._left_out(
            f"rows_without_time/{name}", look.without_time,
            f"{name}: {look.without_time:,} of {rows} without {at!r} are left out",
        )  # fmt: skip
        self._left_out(
            f"rows_after_as_of/{name}", look.later,
            f"{name}: {look.later:,} of {rows} after as_of ({self.data.as_of}) are left out",
        )  # fmt: skip
        self._values(ref, look.rows, events)
        if look.negative:
            text = f"{name}: {counted(look.negative, 'row')} of {ref} with {self.survival.value!r} "
            text += f"below 0 count as {name!r}: are these refunds? data.events.{name}.where can "
            said: dict[str, Any] = {
                "event": name,
                "n": look.negative,
                "table": ref,
                "name": self.survival.value,
            }
            self._note("negative", text + "leave them out", **said)
        self.customers = max(self.customers, look.units)
        if look.events is not None:
            of = f"{counted(look.events, 'event')} of {counted(look.units, 'customer')}"
            self.events += look.events
            if events is not None and events.id is not None:
                self.tables[f"table_events/{name}"] = look.events
            self._note("events", f"{name}: {of} until {self.data.as_of} in {ref}")
        if not look.units and (events is None or name in (self.survival.first, None)):
            self.fatal.append(
                f"{name}: no row of {ref} has an id and a time until {self.data.as_of}"
            )
        return look

    def _values(self, ref: str, rows: int, events: Events | None) -> None:
        """How many numbers of events, such as invoices, and levels of splits a table holds."""
        if events is None:
            return
        there = self.source.columns(ref)
        found = {c: MOST_LEVELS for c in self.survival.by if there.get(c) == "text"}
        found |= {events.id: rows} if events.id is not None else {}
        for column, most in found.items():
            code = f"table_values/{column}/{ref}"
            if code not in self.tables:
                self.tables[code] = different(self.source, ref, column, most)

    def _units(self) -> Cohort:
        count = passes(self.customers, self.events)
        look = look_at_cohorts(self.spec, self.source, self.arms, count)
        if not look.units:
            raise PlanError(f"survival.origin: nobody has an origin until {self.data.as_of}")
        text = f"{counted(look.units, 'customer')} in {counted(look.cohorts, 'cohort')} by "
        text += f"{self.survival.cohorts} of {self.survival.origin!r}, {look.first} to {look.last}"
        self._note("cohorts", text)
        self._odd(look)
        self._patterns(look)
        self._follow_up(look)
        self._stop()
        return Cohort(look.units, self.notes, passes=count, tables=self.tables)

    def _odd(self, look: UnitsLook) -> None:
        for event, (nobody, before) in look.strays.items():
            self._left_out(
                f"without_origin/{event}", nobody,
                f"{event}: {counted(nobody, 'customer')} without an origin: left out",
            )  # fmt: skip
            self._left_out(
                f"before_origin/{event}", before,
                f"{event}: {counted(before, 'customer')} with some before the origin: these do "
                "not count",
            )  # fmt: skip
        for column, several in look.several.items():
            self._left_out(
                f"several_levels/{column}", several,
                f"{counted(several, 'customer')} with two levels or more of {column!r}: each "
                "counts with that of its first event",
            )  # fmt: skip
        for column, missing in look.missing.items():
            self._left_out(
                f"missing_level/{column}", missing,
                f"{counted(missing, 'customer')} without {column!r}: a group of their own",
            )  # fmt: skip
        for key, sizes in look.sizes.items():
            few = merged(sizes, self.spec.privacy.min_cell)
            if few:
                names = ", ".join(repr(level) for level in few[:MOST_NAMED])
                more = f" and {len(few) - MOST_NAMED:,} more" if len(few) > MOST_NAMED else ""
                text = f"{key}: {names}{more} of {len(sizes):,} groups will count as one: at least "
                least = f"one of them has fewer than {self.spec.privacy.min_cell} customers"
                self._note("small_levels", f"{text}{least}")
        if look.late:
            text = f"{counted(look.late, 'customer')} with an origin before {self.survival.start}"
            self._note("late_entry", f"{text}: seen from that day on")

    def _patterns(self, look: UnitsLook) -> None:
        most = dict.fromkeys(self.survival.by, ("by", MOST_LEVELS))
        for name in set(self.survival.columns) - set(self.survival.bins):
            if column_kind(self.spec, self.source, name) == "text":
                most[name] = ("covariates", MOST_TEXTS)
        for name, (key, limit) in most.items():
            if look.levels.get(name, 0) > limit:
                levels = f"{look.levels[name]:,} levels, more than {limit}"
                self.fatal.append(
                    f"survival.{key}: {name!r} has {levels}; group them, or leave it out"
                )
        if look.patterns > MOST_PATTERNS:
            worst = sorted(look.levels.items(), key=lambda item: -item[1])
            many = ", ".join(f"{name!r} {count:,}" for name, count in worst if count > 1)
            self.fatal.append(
                f"survival: about {look.patterns:,} combinations of cohort, levels and covariates, "
                f"more than {MOST_PATTERNS:,} ({many} levels): put numbers into bins "
                f"(covariates: [{{column: {worst[0][0]}, bins: [0, 30, 60]}}]), take longer "
                "cohorts, or fewer covariates"
            )
        elif keys_of(self.spec, self.survival):
            self._note("patterns", f"about {look.patterns:,} combinations of cohort and levels")

    def _follow_up(self, look: UnitsLook) -> None:
        assert self.data.as_of is not None
        longest = (self.data.as_of - look.first).days
        if longest < self.survival.days:
            text = f"no customer has been followed for {self.survival.horizon} by {self.data.as_of}"
            self._note("horizon", f"{text}; the longest is {counted(longest, 'day')}")
        tau = hours(self.survival.tau) // 24 if self.survival.tau is not None else 0
        if tau > longest:
            text = f"survival.tau: no customer has been followed for {self.survival.tau} by "
            text += f"{self.data.as_of}; the largest tau that can be had is {longest}d"
            self._note("tau", text, ok=False)
        self._silence(look)
        if not look.some:
            event = self.survival.waits_for
            if not look.shared:
                self.fatal.append(
                    f"survival.event: no customer of the origin is in data.events.{event}; are the "
                    "ids the right ones?"
                )
            self._note(
                "no_event", f"nobody has {event!r} after the origin: all are censored", ok=False
            )

    def _silence(self, look: UnitsLook) -> None:
        """Days without any event before as_of: a fault where customers would be followed in them.

        They count as days on which nobody came back, so an as_of beyond the end of the tables makes
        customers look lost. A study whose customers had all been followed to the end by the last
        event has lost nothing.
        """
        assert self.data.as_of is not None
        gap = (self.data.as_of - self.last).days if self.last is not None else 0
        if gap <= GAP:
            return
        text = f"nothing happened in the {gap} days before as_of ({self.data.as_of})"
        if self.last is not None and (self.last - look.last).days >= self.survival.days:
            text += "; by then all customers had been followed for "
            text += f"{self.survival.horizon}, so no curve rests on it"
            self._note("ended", text)
            return
        text += ", in which customers are still followed: is it the last complete day of the "
        self._note("as_of", f"{text}tables? If they end earlier, say as_of: {self.last}", ok=False)


def check_cohorts(
    spec: Spec, source: Source, arms: Sequence[str]
) -> tuple[Cohort, tuple[Input, ...], tuple[Check, ...]]:
    """The `Cohort` of the survival section, its inputs and what was checked.

    Raises PlanError, or DataError where a table cannot be had.
    """
    checker = CohortChecker(spec, source, arms)
    found = checker.run()
    return found, checker.inputs, tuple(checker.checks)
