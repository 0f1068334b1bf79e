"""An experiment as written and its real tables in; what was found, and every fault, out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retention_lab.data.look import (
    MOST_LEVELS,
    UnitLook,
    look_at_units,
    repeated_units,
)
from retention_lab.data.relations import condition
from retention_lab.data.source import Source
from retention_lab.data.times import HOUR, end_of
from retention_lab.errors import counted, did_you_mean
from retention_lab.experiment.covariates import named_covariates
from retention_lab.experiment.doubts import by_number, doubts, split_doubt
from retention_lab.experiment.event_rows import EventRows
from retention_lab.experiment.expressions import expression_fault
from retention_lab.experiment.findings import Findings
from retention_lab.experiment.needs import Column, Needs, all_columns, needs
from retention_lab.experiment.randomised import check_clusters
from retention_lab.experiment.spec import Events, Spec, Timed

if TYPE_CHECKING:
    from retention_lab.experiment.incentive import Offer

MOST_ARMS = 20  # that are listed one by one


class Checker(Findings):
    """Holds arms, metrics and their events against their tables."""

    def __init__(self, spec: Spec, source: Source) -> None:
        assert spec.design is not None
        super().__init__(spec, source)
        self.design, self.data = spec.design, spec.data
        self.arms: tuple[str, ...] = ()
        self.needed: dict[str, Needs] = {}
        self.offer: Offer | None = None
        self.look: UnitLook | None = None

    def run(self) -> None:
        """Look at every table; raises PlanError with all fatal faults of a stage at once."""
        if self.spec.data.moments:
            self._saved_reductions()
        else:
            self._tables()
        self._stop()

    def _tables(self) -> None:
        main = self.data.assignments
        name = "assignments" if main else "units"
        ref = main.table if main else str(self.data.units)
        known = self.source.columns(ref)
        self._never_empty(ref)
        events = self.data.events
        self._read({name: ref, **{f"events.{n}": t.table for n, t in events.items()}})
        self._spare_threads()
        named = named_covariates(self.spec, self.source, ref, known)
        self.fatal += named.fatal
        self._stop()
        self.checks += named.checks
        self.needed = needs(self.spec, tuple(known), covariates=named.covariates)
        if self.spec.incentive is not None:
            from retention_lab.experiment.incentive import known_late, with_offer

            if main is not None:
                self.fatal += known_late(self.spec, self.source)
            self.offer, self.needed = with_offer(self.spec, self.needed, known, named.covariates)
        columns = all_columns(self.needed)
        self._columns(name, ref, known, main, columns)
        for event, table in events.items():
            self._event_columns(event, table, known, columns)
        self._windows(columns)
        self._stop()
        end = end_of(self.data.as_of, self.data.timezone) if self.data.as_of else None
        look = look_at_units(
            self.source, ref, arm=self.design.arm, unit=self.design.unit,
            at=main.at if main else None, end=end, columns=columns,
            segments=self.spec.segments,
        )  # fmt: skip
        self.look = look
        self._rows(ref, look)
        self._stop()
        self._arms(look.by_arm, look.rows)
        self._units(ref, look)
        self.checks += doubts(self.spec, self.source, ref, look, columns)
        checks, fatal = check_clusters(self.spec, self.source, ref, look)
        self.checks += checks
        self.fatal += fatal
        if not fatal:
            self._turns(ref)
        self._levels(look)
        self._values(look, columns)
        if main is not None and self.design.unit is not None:
            self._event_rows(ref, main, self.design.unit, look)
        self._maturity(look, end, columns)
        if self.offer is not None and not self.fatal:
            from retention_lab.experiment import redemptions

            column = redemptions.column_of(self.spec, self.offer, self.needed)
            if column is not None:
                who = redemptions.of_tables(self.spec, self.source, ref, column)
                self.checks += redemptions.redemption_remarks(self.spec, self.arms, column, who)

    def _saved_reductions(self) -> None:
        from retention_lab.experiment.saved import saved_reductions

        self._read({f"moments.{i}": ref for i, ref in enumerate(self.data.moments)})
        files = [(t.ref, path) for t in self.inputs for path in t.paths]
        found = saved_reductions(self.spec, files)
        self.needed, self.fatal = dict(found.needed), [*found.fatal]
        self.offer = found.offer
        self._stop()
        for metric, fault in found.faults:
            code, _, text = fault.partition(": ")
            self._fault(code, text, *([metric] if metric in self.needed else []))
        units = sum(found.by_arm.values())
        self._note("rows", f"{units:,} units in {len(files)} saved reductions; no row is read")
        self._arms(found.by_arm, units)
        if self.offer is not None and not self.fatal:
            from retention_lab.experiment.redemptions import redemption_remarks

            self.checks += redemption_remarks(self.spec, self.arms, *found.redeemed)

    def _columns(
        self, name: str, ref: str, known: Mapping[str, str], main: Timed | None,
        columns: tuple[Column, ...],
    ) -> None:  # fmt: skip
        self._has("design.arm", self.design.arm, ref)
        if self.design.unit is not None:
            self._has("design.unit", self.design.unit, ref)
        elif main is not None:
            self.fatal.append("design.unit: assignments need the column that holds the unit's id")
        if main is not None:
            self._times(f"data.{name}.at", main.at, ref)
        for segment in self.spec.segments:
            self._has("segments", segment, ref)
        switchback = self.design.switchback
        for named, column in (
            ("design.cluster", self.design.cluster),
            ("design.switchback.by", switchback.by if switchback else None),
        ):
            if column is not None:
                self._has(named, column, ref)
        for c in columns:
            if c.how != "value" or not self._has(f"metric {c.name!r}", str(c.value), ref):
                continue
            kind = known[str(c.value)]
            if kind not in ("number", "truth"):
                self._no_numbers(f"metric {c.name!r}", str(c.value), ref, kind)

    def _times(self, key: str, column: str, ref: str) -> None:
        self._has_times(key, column, ref)
        if self.source.columns(ref).get(column) == "date":
            text = f"{column!r} of {ref} has no time of day: midnight is taken"
            self._note("dates", text, name=column, table=ref)

    def _event_columns(
        self, event: str, table: Events, known: Mapping[str, str], columns: tuple[Column, ...]
    ) -> None:
        key, unit = f"data.events.{event}", self.design.unit
        kinds = self.source.columns(table.table)
        self._times(f"{key}.at", table.at, table.table)
        if table.id is not None:
            self._has(f"{key}.id", table.id, table.table)
        if table.where is not None:
            sql, where = condition(table), f"{key}.where"
            fault = expression_fault(self.source, where, table.where, table.table, sql, {"BOOLEAN"})
            self.fatal += [fault] if fault is not None else []
        there = unit and self._has("design.unit", unit, table.table) and unit in known
        if unit and there and kinds[unit] != known[unit]:
            self.fatal.append(
                f"design.unit: {unit!r} holds {known[unit]} in the assignments but "
                f"{kinds[unit]} in {table.table}; cast one of them"
            )
        for c in columns:
            if c.event == event and c.value is not None:
                metric = f"metric {c.name!r}"
                if self._has(metric, c.value, table.table) and kinds[c.value] != "number":
                    self._no_numbers(metric, c.value, table.table, kinds[c.value])

    def _windows(self, columns: tuple[Column, ...]) -> None:
        for c in columns:
            if c.event is not None and c.event not in self.data.events:
                hint = did_you_mean(c.event, self.data.events)
                declared = ", ".join(self.data.events) or "none are declared"
                metric = c.name.partition(" ")[0]  # behind a space stands which of its columns
                self.fatal.append(
                    f"metric {metric!r}: there is no data.events.{c.event} ({declared}){hint}"
                )
        if any(c.matures for c in columns) and self.data.as_of is None:
            self.fatal.append(
                "data.as_of: metrics with a window need the last complete day, such as 2026-01-15"
            )

    def _rows(self, ref: str, look: UnitLook) -> None:
        if look.rows == 0:
            self.fatal.append(f"{ref} has no rows")
        if look.without_unit:
            self.fatal.append(
                f"{counted(look.without_unit, 'row')} of {ref} without {self.design.unit!r}"
            )
        if look.without_time:
            self.fatal.append(
                f"{counted(look.without_time, 'row')} of {ref} without a time of exposure"
            )

    def _turns(self, ref: str) -> None:
        """Whether the blocks of a switchback took turns as if each had been drawn."""
        if self.design.switchback is None:
            return
        from retention_lab.experiment.schedule import schedule_faults

        metrics = [m.name for m in self.spec.metrics]
        rare, tied = schedule_faults(self.spec, self.source, ref)
        if rare is not None:
            self._fault("rarely_switched", rare, *metrics)
        if tied is not None:
            self._fault("fixed_hours", tied, *metrics)

    def _arms(self, by_arm: Mapping[str | None, int], units: int) -> None:
        found = [a for a in by_arm if a is not None]
        split = self.design.expected_split
        control = self.design.control
        if control not in found:
            hint = did_you_mean(control, found) or f"; it holds {', '.join(sorted(found)[:20])}"
            self.fatal.append(f"design.control: no unit has {control!r} in its arm{hint}")
        if split is not None:
            for arm in sorted(set(found) - set(split)):
                count = by_arm[arm]
                hint = did_you_mean(arm, split)
                self.fatal.append(
                    f"arm {arm!r} ({counted(count or 0, 'unit')}) is not in expected_split{hint}"
                )
            for arm in [a for a in split if a not in found and a != control]:
                self._fault("empty_arm", f"arm {arm!r} of expected_split has no units")
        elif len(found) > MOST_LEVELS:
            self.fatal.append(
                f"design.arm: {self.design.arm!r} has {len(found):,} levels, too many"
            )
        elif len(found) < 2:
            self.fatal.append(f"design.arm: {self.design.arm!r} has one arm only; two are compared")
        others = [a for a in (split or sorted(found, key=by_number)) if a != control]
        nobody = by_arm.get(None, 0)
        if nobody:
            text = f"{nobody:,} of {units:,} units have no arm and are left out"
            self._fault("no_arm", text)
        self.arms = (control, *others)
        self._split(by_arm)

    def _split(self, by_arm: Mapping[str | None, int]) -> None:
        """Say which arms there are, which is the control, and the planned and the real shares."""
        weights = self.design.expected_split or dict.fromkeys(self.arms, 1.0)
        counts = {arm: by_arm.get(arm, 0) for arm in self.arms}
        total, whole = sum(counts.values()), sum(weights.get(arm, 0.0) for arm in self.arms)
        if self.fatal or not total or not whole:
            return
        hidden = any(0 < n < self.spec.privacy.min_cell for n in counts.values())
        said = self.spec.incentive
        dealt = said is None or said.strategy != "observational"  # else nobody planned the shares
        units = dealt and self.design.randomised is None
        for arm, n in list(counts.items())[:MOST_ARMS]:
            role = " (control)" if arm == self.design.control else ""
            real = f"{counted(n, 'unit')}, {100 * n / total:.1f} % of all"
            if hidden:
                real = f"not counted here: an arm has fewer than {self.spec.privacy.min_cell} units"
            planned = f"; planned {100 * weights.get(arm, 0.0) / whole:.1f} %" if units else ""
            self._note("arms", f"arm {arm!r}{role}: {real}{planned}")
        odd = split_doubt(self.arms, counts, weights) if units else None
        self.checks += [odd] if odd is not None else []

    def _units(self, ref: str, look: UnitLook) -> None:
        self._note("rows", f"{counted(look.rows, 'unit')} in {ref}")
        if look.later:
            text = f"{look.later:,} units exposed after as_of ({self.data.as_of}) are left out"
            self._note("later", text, n=look.later, day=str(self.data.as_of))
            if look.later == look.rows:
                self.fatal.append(f"data.as_of: all units of {ref} are exposed after it")
        unit = self.design.unit
        if unit is None:
            return
        repeated, crossed = repeated_units(self.source, ref, unit, self.design.arm)
        if crossed:
            self.fatal.append(
                f"{counted(crossed, 'unit')} of {ref} in two arms or more: "
                "keep each unit's first assignment, or leave the crossed units out"
            )
        if repeated - crossed:
            self.fatal.append(
                f"{counted(repeated - crossed, 'unit')} of {ref} in more than one row: "
                "keep one row a unit"
            )
        if not repeated:
            self._note("unique", f"every {unit!r} stands in one row and one arm")

    def _levels(self, look: UnitLook) -> None:
        for segment, levels in look.levels.items():
            if len(levels) > MOST_LEVELS:
                self.fatal.append(f"segments: {segment!r} has more than {MOST_LEVELS} levels")

    def _values(self, look: UnitLook, columns: tuple[Column, ...]) -> None:
        for c in columns:
            seen = look.values.get(c.name)
            if seen is None:
                continue
            metrics = [n for n, need in self.needed.items() if c in need.columns]
            of = f"of {look.rows:,} values of {c.value!r}"
            if seen.not_finite:
                self._fault("not_finite", f"{seen.not_finite:,} {of} are infinite or NaN", *metrics)
            if seen.not_binary:
                text = f"{seen.not_binary:,} {of} are neither 0 nor 1: not a proportion"
                self._fault("not_binary", text, *metrics)
            if seen.missing and (c.of is None or c.missing == "error"):  # of covariates: elsewhere
                said: dict[str, Any] = {"name": c.value, "all": look.rows}
                self._missing(seen.missing, of, c.missing, *metrics, **said)

    def _event_rows(self, ref: str, main: Timed, unit: str, look: UnitLook) -> None:
        rows = EventRows(self.spec, self.source, self.needed, ref, main.at, unit)
        rows.run(look.last)
        self.take(rows)

    def _maturity(self, look: UnitLook, end: int | None, columns: tuple[Column, ...]) -> None:
        if end is None or look.first is None:
            return
        for span in sorted({c.matures for c in columns if c.matures is not None}):
            metrics = [n for n, need in self.needed.items() if need.numerator.matures == span]
            counted = look.rows - look.later
            mature, days = look.mature[span], f"{span // 24}d" if span % 24 == 0 else f"{span}h"
            text = f"{mature:,} of {counted:,} units have had their {days} by {self.data.as_of}"
            if mature:
                said: dict[str, Any] = {
                    "n": mature,
                    "all": counted,
                    "span": days,
                    "day": str(self.data.as_of),
                }
                self._note("mature" if mature == counted else "immature", text, **said)
                continue
            first = (look.first + dt.timedelta(microseconds=span * HOUR)).date()
            text = f"no unit has had its {days} by {self.data.as_of}; the first has on {first}"
            if set(metrics) & set(self.spec.primary):
                self.fatal.append(f"data.as_of: {text}")
            self._fault("no_mature_units", text, *metrics)
