"""A survival section and the columns of its tables in; what does not fit there out."""

from __future__ import annotations

from retention_lab.data.relations import (
    checked,
    column_kind,
    condition,
    home,
    number_of,
    used_events,
)
from retention_lab.data.source import Source
from retention_lab.errors import did_you_mean
from retention_lab.experiment.expressions import expression_fault
from retention_lab.experiment.findings import Findings
from retention_lab.experiment.sections import EXPOSURE
from retention_lab.experiment.spec import Spec


class CohortColumns(Findings):
    """Holds the names of a survival section against its tables."""

    def __init__(self, spec: Spec, source: Source) -> None:
        super().__init__(spec, source)
        self.data, self.survival = spec.data, checked(spec)

    def run(self) -> None:
        """Look at the section, then at the tables that it reads; raises PlanError."""
        for look in (self._names, self._columns):
            look()
            self._stop()

    def _names(self) -> None:
        """What can be seen without a table."""
        survival, design = self.survival, self.spec.design
        if self.data.moments:
            self.fatal.append(
                "survival: a run from saved reductions needs data.lives, the life tables saved "
                "with them"
            )
        if survival.unit is None and (design is None or design.unit is None):
            self.fatal.append("survival.unit: say which column holds the customer's id")
        if self.data.as_of is None:
            self.fatal.append("data.as_of: survival needs the last complete day, as in 2026-01-15")
        elif survival.start is not None and survival.start > self.data.as_of:
            self.fatal.append(f"survival.from: {survival.start} is after as_of ({self.data.as_of})")
        keys = {"origin": survival.first, "event": survival.waits_for}
        for key, name in [*keys.items(), *(("competing", c) for c in survival.competing)]:
            if name is not None and name not in self.data.events:
                hint = did_you_mean(name, self.data.events)
                declared = ", ".join(self.data.events) or "none are declared"
                self.fatal.append(
                    f"survival.{key}: there is no data.events.{name} ({declared}){hint}"
                )
        if survival.origin == EXPOSURE:
            if design is None or self.data.assignments is None:
                self.fatal.append(
                    "survival.origin: exposure needs a design and assignments: who entered which "
                    "arm, and when"
                )
            elif design.randomised is not None:
                self.fatal.append("survival of clusters or blocks cannot be analysed yet")
        elif survival.first is None and home(self.spec) is None:
            hint = did_you_mean(survival.origin, [f"first {e}" for e in self.data.events])
            self.fatal.append(
                f"survival.origin: {survival.origin!r} is a column of data.units, which is not "
                f"given; write it, or first and a name of data.events{hint}"
            )
        elif design is not None and design.arm in (*survival.by, *survival.columns):
            self.fatal.append(
                f"survival: {design.arm!r} can only split customers from their exposure on: "
                "write origin: exposure"
            )

    def _columns(self) -> None:
        """Columns and their types; the conditions and expressions of the file."""
        unit = str(self.survival.unit or (self.spec.design and self.spec.design.unit))
        key = "survival.unit" if self.survival.unit else "design.unit"
        table, events = home(self.spec), used_events(self.survival)
        refs = {("assignments" if table[1] else "units"): table[0]} if table is not None else {}
        self._read(refs | {f"events.{e}": self.data.events[e].table for e in events})
        kinds: dict[str, str] = {}
        if table is not None:
            if self._has(key, unit, table[0]):
                kinds[table[0]] = self.source.columns(table[0])[unit]
            if self.survival.first is None and self.survival.origin != EXPOSURE:
                self._has_times("survival.origin", self.survival.origin, table[0])
        for event in events:
            e = self.data.events[event]
            at = f"data.events.{event}"
            if self._has(key, unit, e.table):
                kinds[e.table] = self.source.columns(e.table)[unit]
            self._has_times(f"{at}.at", e.at, e.table)
            if e.id is not None:
                self._has(f"{at}.id", e.id, e.table)
            if e.where is not None:
                self._expression(f"{at}.where", e.where, e.table, condition(e), {"BOOLEAN"})
        if len(set(kinds.values())) > 1:
            said = ", ".join(f"{kind} in {ref}" for ref, kind in kinds.items())
            self.fatal.append(f"{key}: {unit!r} holds {said}; cast one of them")
        value, e = self.survival.value, self.data.events[self.survival.waits_for]
        if value is not None and value not in self.source.columns(e.table):
            sql = number_of(self.source, e.table, value)
            self._expression("survival.value", value, e.table, sql, {"DOUBLE"})
        elif value is not None and self.source.columns(e.table)[value] not in ("number", "truth"):
            kind = self.source.columns(e.table)[value]
            self._no_numbers("survival.value", value, e.table, kind)
        self._splits()
        self._spare_threads()

    def _splits(self) -> None:
        """The columns of `by` and of covariates, wherever they are."""
        survival = self.survival
        numbers = set(survival.columns) - set(survival.bins)
        for name in dict.fromkeys([*survival.by, *survival.columns]):
            if self.spec.design is not None and name == self.spec.design.arm:
                continue
            key = "survival.by" if name in survival.by else "survival.covariates"
            kind = column_kind(self.spec, self.source, name)
            if kind is None:
                refs = [i.ref for i in self.inputs if i.name in ("units", "assignments")]
                if survival.first is not None:
                    refs.append(self.data.events[survival.first].table)
                known = [c for ref in refs for c in self.source.columns(ref)]
                hint = did_you_mean(name, known) or f"; there are {', '.join(dict.fromkeys(known))}"
                self.fatal.append(f"{key}: column {name!r} is not in {' nor in '.join(refs)}{hint}")
            elif kind not in ("text", "number", "truth"):
                self.fatal.append(f"{key}: {name!r} holds {kind}, not levels or numbers")
            elif name in survival.bins and kind != "number":
                self.fatal.append(f"survival.covariates: {name!r} holds {kind}: bins need numbers")
            elif kind == "number" and name in survival.by and name in numbers:
                self.fatal.append(
                    f"survival: {name!r} splits the curves and is a number in the regression; "
                    f"give it bins: {{column: {name}, bins: [0, 30]}}"
                )

    def _expression(self, key: str, text: str, ref: str, sql: str, types: set[str]) -> None:
        fault = expression_fault(self.source, key, text, ref, sql, types)
        self.fatal += [fault] if fault is not None else []
