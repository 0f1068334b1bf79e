"""Assignments, events and what metrics read of them in; what the events hold, and faults, out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from retention_lab.data.counted import counted_rows, filtered
from retention_lab.data.look import event_faults, has_event_after, look_at_events
from retention_lab.data.source import Source
from retention_lab.errors import counted
from retention_lab.experiment.findings import Findings
from retention_lab.experiment.needs import Needs, all_columns
from retention_lab.experiment.spec import Events, Spec


class EventRows(Findings):
    """Looks at each table of events: strays, refunds, values, and whether any is in time."""

    def __init__(
        self, spec: Spec, source: Source, needed: dict[str, Needs], ref: str, at: str, unit: str
    ) -> None:
        super().__init__(spec, source)
        self.needed, self.ref, self.at, self.unit = needed, ref, at, unit

    def run(self, last: dt.datetime | None) -> None:
        """`last` is the last exposure of all units."""
        ref, unit, silent = self.ref, self.unit, {}
        for event, table in self.spec.data.events.items():
            sums = [c for c in all_columns(self.needed) if c.event == event and c.value]
            values = list(dict.fromkeys(str(c.value) for c in sums))
            rows_of = filtered(self.source, self.spec, event)
            counting = self._counting(event) if table.where is None else []
            seen = look_at_events(
                self.source, rows_of, unit, table.at, values, signed=bool(counting)
            )
            if seen.stray:
                rows = f"{counted(seen.stray, 'row')} of {table.table}"
                text = f"{rows} without {unit!r} or {table.at!r} left out"
                self._note("stray", text, n=seen.stray, table=table.table, name=unit)
            self._negative(event, table, seen.negative, counting)
            if has_event_after(self.source, ref, unit, self.at, rows_of, table.at, last):
                self._note("events", f"{event}: there are events after exposure in {table.table}")
                self._values(event, table, seen.odd)
                continue
            silent[event] = (
                f"data.events.{event}: no unit of {ref} has an event in {table.table} after "
                f"its exposure; are {self.at!r}, {table.at!r} and the unit's id the right ones?"
            )
        needed = {c.event for m in self.spec.primary for c in self.needed[m].columns}
        for event, text in silent.items():
            # A rare event, an unsubscribe say, may really not have happened yet.
            if event in needed or len(silent) == len(self.spec.data.events):
                self.fatal.append(text)
            else:
                self._note("silent", text, event=event)

    def _counting(self, event: str) -> list[str]:
        """The metrics that count rows of an event table, whatever these are worth."""
        return [
            metric
            for metric, need in self.needed.items()
            if any(c.event == event and c.value is None for c in need.columns)
        ]

    def _negative(
        self, event: str, table: Events, negative: Mapping[str, int], counting: list[str]
    ) -> None:
        """Ask whether rows below 0 are refunds, which metrics that count rows count as well."""
        for value, n in negative.items():
            rows = f"{event}: {counted(n, 'row')} of {table.table} with {value!r} below 0"
            also = ", ".join(repr(m) for m in counting)
            text = f"{rows} count for {also} as well: are these refunds?"
            said: dict[str, Any] = {"event": event, "n": n, "table": table.table, "name": value}
            text = f"{text} data.events.{event}.where can leave them out"
            self._note("negative", text, **said)

    def _values(self, event: str, table: Events, odd: frozenset[str]) -> None:
        """Missing and not finite values among the events that each sum adds up.

        Only columns in `odd` are looked at: they hold such values somewhere.
        """
        rows_of = counted_rows(self.source, self.spec, event)
        for metric, need in self.needed.items():
            for c in need.columns:
                if c.event != event or c.value not in odd:
                    continue
                span = c.window or 0
                missing, infinite = event_faults(
                    self.source, self.ref, self.unit, self.at, rows_of, table.at,
                    value=c.value, before=span if c.before else 0, after=0 if c.before else span,
                )  # fmt: skip
                of = f"values of {c.value!r} in {table.table}, in the window of {c.name!r},"
                if infinite:
                    self._fault("not_finite", f"{infinite:,} {of} are infinite or NaN", metric)
                if missing:
                    dropped = "their units left out"
                    self._missing(missing, of, c.missing, metric, dropped=dropped, name=c.value)
