"""An experiment file and its real tables in; a `Plan` that can be run, or every fault, out."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retention_lab.data.look import (
    UnitLook,
    event_faults,
    has_event_after,
    level_counts,
    look_at_units,
    repeated_units,
)
from retention_lab.data.source import Source
from retention_lab.data.times import HOUR, end_of
from retention_lab.errors import PlanError, did_you_mean
from retention_lab.experiment.load import load
from retention_lab.experiment.needs import Column, Needs, all_columns, needs
from retention_lab.experiment.spec import Spec, Timed
from retention_lab.paths import project_root

MOST_LEVELS = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; not `ok` is a fault that the run survives, and reports."""

    code: str
    ok: bool
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Input:
    """One table of the file: its name there, the reference as written, the files behind it."""

    name: str
    ref: str
    paths: tuple[Path, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """An experiment that was checked against its tables: what to read, and what was found.

    `arms` has the control first; `needed` is what every metric reads; `faults` says, by metric,
    why it cannot be computed.
    """

    spec: Spec
    path: Path
    root: Path
    overrides: Mapping[str, Any]
    source: Source
    arms: tuple[str, ...]
    inputs: tuple[Input, ...]
    needed: Mapping[str, Needs]
    checks: tuple[Check, ...]
    faults: Mapping[str, str]
    look: UnitLook | None

    @property
    def definition(self) -> str:
        """What the columns of the reduction mean, as JSON: equal where reductions may merge."""
        data = self.spec.data
        content: dict[str, Any] = {
            "as_of": str(data.as_of) if data.as_of else None,
            "timezone": data.timezone,
        }
        for c in all_columns(dict(self.needed)):
            said = {k: v for k, v in dataclasses.asdict(c).items() if v not in (None, False)}
            content[c.name] = {k: v for k, v in said.items() if k not in ("name", "cap")}
        return json.dumps(content, sort_keys=True)

    def _repr_html_(self) -> str:
        marks = {True: "✓", False: "✗"}
        rows = (
            f"<tr><td>{marks[c.ok]}</td><td>{html.escape(c.text)}</td></tr>" for c in self.checks
        )
        return f"<table>{''.join(rows)}</table>"


def make_plan(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Load the experiment file at `path` and check it against its tables.

    Raises SpecError (the file's form), DataError (a table that cannot be had) or PlanError (a
    column, type, arm or time that does not fit, or an analysis that does not exist yet); the
    message holds every fault that was found, one a line.
    """
    path = _found(Path(path))
    spec = load(path, overrides)
    root = project_root(path)
    _exists_yet(spec)
    source = Source(spec.data, path.parent, root)
    return _Checker(spec, path, root, dict(overrides or {}), source).plan()


def _found(path: Path) -> Path:
    """`path` from here, or else from the root of the project that one stands in."""
    here = path.absolute()
    other = project_root(Path.cwd()) / path
    return other if other.is_file() and not here.is_file() else here


def _exists_yet(spec: Spec) -> None:
    """Refuse, by name, what a later version will do."""
    absent = [
        (spec.survival is not None, "survival: cohort survival curves"),
        (spec.incentive is not None, "incentive: incentive effects"),
        (bool(spec.inference.sequential), "inference.sequential: sequential tests"),
        (spec.design is not None and spec.design.cluster is not None, "design.cluster: clusters"),
        (any(m.covariates for m in spec.metrics), "metrics.covariates: adjustment for covariates"),
        (any(m.kind == "quantile" for m in spec.metrics), "kind quantile: quantile differences"),
    ]
    faults = [
        f"{what} cannot be analysed yet; take it out of the file" for is_in, what in absent if is_in
    ]
    if spec.design is None or not spec.metrics:
        faults.append("there is nothing to analyse: an A/B test needs a design and metrics")
    if faults:
        raise PlanError("\n".join(faults))


class _Checker:
    """Collects what is found, fault by fault, and raises all fatal faults at once."""

    def __init__(
        self, spec: Spec, path: Path, root: Path, overrides: dict[str, Any], source: Source
    ) -> None:
        assert spec.design is not None
        self.spec, self.path, self.root, self.overrides = spec, path, root, overrides
        self.design, self.data, self.source = spec.design, spec.data, source
        self.checks: list[Check] = []
        self.fatal: list[str] = []
        self.faults: dict[str, str] = {}

    def plan(self) -> Plan:
        if self.data.moments:
            return self._from_moments()
        main = self.data.assignments
        name = "assignments" if main else "units"
        ref = main.table if main else str(self.data.units)
        known = self.source.columns(ref)
        inputs = [Input(name, ref, self.source.files(ref))]
        events = {n: (t, self.source.columns(t.table)) for n, t in self.data.events.items()}
        inputs += [
            Input(f"events.{n}", t.table, self.source.files(t.table))
            for n, (t, _) in events.items()
        ]
        needed = needs(self.spec, tuple(known) if main is None else ())
        columns = all_columns(needed)
        self._columns(name, ref, known, main, columns)
        for event, (table, kinds) in events.items():
            self._event_columns(event, table, kinds, known, columns)
        self._windows(columns)
        self._stop()
        end = end_of(self.data.as_of, self.data.timezone) if self.data.as_of else None
        look = look_at_units(
            self.source, ref, arm=self.design.arm, unit=self.design.unit,
            at=main.at if main else None, end=end, columns=columns,
        )  # fmt: skip
        self._rows(ref, look)
        self._stop()
        arms = self._arms(look)
        self._units(ref, look)
        self._levels(ref)
        self._values(look, columns, needed)
        self._event_rows(ref, main, needed)
        self._maturity(look, end, columns, needed)
        self._stop()
        return Plan(
            spec=self.spec, path=self.path, root=self.root, overrides=self.overrides,
            source=self.source, arms=arms, inputs=tuple(inputs), needed=needed,
            checks=tuple(self.checks), faults=self.faults, look=look,
        )  # fmt: skip

    def _from_moments(self) -> Plan:
        from retention_lab.data.moments import Moments

        inputs, arms = [], set()
        needed = needs(self.spec)
        for i, ref in enumerate(self.data.moments):
            paths = self.source.files(ref)
            inputs.append(Input(f"moments.{i}", ref, paths))
            for path in paths:
                held = Moments.load(path)
                lacking = [k for k in (self.design.arm, *self.spec.segments) if k not in held.keys]
                if lacking:
                    self.fatal.append(f"{ref} is not split by {', '.join(lacking)}")
                gone = {p for n in needed.values() for p in n.pairs} - set(held.pairs)
                if gone:
                    missing = ", ".join(sorted({c for p in gone for c in p}))
                    self.fatal.append(f"{ref} does not hold {missing}")
                self._stop()
                arms |= set(held.levels(self.design.arm))
        self._note("rows", f"{len(inputs)} saved reductions; no row is read")
        look = UnitLook(
            rows=0, by_arm=dict.fromkeys(arms, 1), without_unit=0, without_time=0, first=None,
            last=None, later=0, mature={}, values={},
        )  # fmt: skip
        return Plan(
            spec=self.spec, path=self.path, root=self.root, overrides=self.overrides,
            source=self.source, arms=self._arms(look), inputs=tuple(inputs), needed=needed,
            checks=tuple(self.checks), faults=self.faults, look=None,
        )  # fmt: skip

    def _note(self, code: str, text: str) -> None:
        self.checks.append(Check(code, True, text))

    def _fault(self, code: str, text: str, *metrics: str) -> None:
        self.checks.append(Check(code, False, text))
        for metric in metrics:
            self.faults.setdefault(metric, f"{code}: {text}")

    def _stop(self) -> None:
        if self.fatal:
            raise PlanError(self.source.conceal("\n".join(dict.fromkeys(self.fatal))))

    def _has(self, key: str, name: str, ref: str, known: Mapping[str, str]) -> bool:
        if name in known:
            return True
        hint = did_you_mean(name, known) or f"; it has {', '.join(known)}"
        self.fatal.append(f"{key}: column {name!r} is not in {ref}{hint}")
        return False

    def _columns(
        self, name: str, ref: str, known: Mapping[str, str], main: Timed | None,
        columns: tuple[Column, ...],
    ) -> None:  # fmt: skip
        self._has("design.arm", self.design.arm, ref, known)
        if self.design.unit is not None:
            self._has("design.unit", self.design.unit, ref, known)
        elif main is not None:
            self.fatal.append("design.unit: assignments need the column that holds the unit's id")
        if main is not None and self._has(f"data.{name}.at", main.at, ref, known):
            self._is_time(f"data.{name}.at", main.at, ref, known)
        for segment in self.spec.segments:
            self._has("segments", segment, ref, known)
        for c in columns:
            if c.how != "value" or not self._has(f"metric {c.name!r}", str(c.value), ref, known):
                continue
            kind = known[str(c.value)]
            if kind not in ("number", "truth"):
                self.fatal.append(
                    f"metric {c.name!r}: column {c.value!r} of {ref} holds {kind}, not numbers"
                )

    def _is_time(self, key: str, column: str, ref: str, known: Mapping[str, str]) -> None:
        kind = known[column]
        if kind not in ("time", "date"):
            self.fatal.append(f"{key}: column {column!r} of {ref} holds {kind}, not times or dates")
        if kind == "date":
            self._note("dates", f"{column!r} of {ref} has no time of day: midnight is taken")

    def _event_columns(
        self, event: str, table: Timed, kinds: Mapping[str, str], known: Mapping[str, str],
        columns: tuple[Column, ...],
    ) -> None:  # fmt: skip
        key, unit = f"data.events.{event}", self.design.unit
        if self._has(f"{key}.at", table.at, table.table, kinds):
            self._is_time(f"{key}.at", table.at, table.table, kinds)
        there = unit and self._has("design.unit", unit, table.table, kinds) and unit in known
        if unit and there and kinds[unit] != known[unit]:
            self.fatal.append(
                f"design.unit: {unit!r} holds {known[unit]} in the assignments but "
                f"{kinds[unit]} in {table.table}; cast one of them"
            )
        for c in columns:
            if c.event == event and c.value is not None:
                metric = f"metric {c.name!r}"
                if self._has(metric, c.value, table.table, kinds) and kinds[c.value] != "number":
                    self.fatal.append(
                        f"{metric}: column {c.value!r} of {table.table} holds {kinds[c.value]}, "
                        "not numbers"
                    )

    def _windows(self, columns: tuple[Column, ...]) -> None:
        for c in columns:
            if c.event is not None and c.event not in self.data.events:
                hint = did_you_mean(c.event, self.data.events)
                declared = ", ".join(self.data.events) or "none are declared"
                self.fatal.append(
                    f"metric {c.name!r}: there is no data.events.{c.event} ({declared}){hint}"
                )
        if any(c.matures for c in columns) and self.data.as_of is None:
            self.fatal.append(
                "data.as_of: metrics with a window need the last complete day, such as 2026-01-15"
            )

    def _rows(self, ref: str, look: UnitLook) -> None:
        if look.rows == 0:
            self.fatal.append(f"{ref} has no rows")
        if look.without_unit:
            self.fatal.append(f"{look.without_unit:,} rows of {ref} have no {self.design.unit!r}")
        if look.without_time:
            self.fatal.append(f"{look.without_time:,} rows of {ref} have no time of exposure")

    def _arms(self, look: UnitLook) -> tuple[str, ...]:
        found = [a for a in look.by_arm if a is not None]
        split = self.design.expected_split
        control = self.design.control
        if control not in found:
            hint = did_you_mean(control, found) or f"; it holds {', '.join(sorted(found)[:20])}"
            self.fatal.append(f"design.control: no unit has {control!r} in its arm{hint}")
        if split is not None:
            for arm in sorted(set(found) - set(split)):
                count = look.by_arm[arm]
                hint = did_you_mean(arm, split)
                self.fatal.append(f"arm {arm!r} ({count:,} units) is not in expected_split{hint}")
            for arm in [a for a in split if a not in found and a != control]:
                self._fault("empty_arm", f"arm {arm!r} of expected_split has no units")
        elif len(found) > MOST_LEVELS:
            self.fatal.append(
                f"design.arm: {self.design.arm!r} has {len(found):,} levels, too many"
            )
        elif len(found) < 2:
            self.fatal.append(f"design.arm: {self.design.arm!r} has one arm only; two are compared")
        others = [a for a in (split or sorted(found)) if a != control]
        nobody = look.by_arm.get(None, 0)
        if nobody:
            text = f"{nobody:,} of {look.rows:,} units have no arm and are left out"
            self._fault("no_arm", text)
        return (control, *others)

    def _units(self, ref: str, look: UnitLook) -> None:
        self._note("rows", f"{look.rows:,} units in {ref}")
        if look.later:
            text = f"{look.later:,} units exposed after as_of ({self.data.as_of}) are left out"
            self._note("later", text)
            if look.later == look.rows:
                self.fatal.append(f"data.as_of: all units of {ref} are exposed after it")
        unit = self.design.unit
        if unit is None:
            return
        repeated, crossed = repeated_units(self.source, ref, unit, self.design.arm)
        if crossed:
            self.fatal.append(
                f"{crossed:,} units of {ref} stand in two arms or more: "
                "keep each unit's first assignment, or leave the crossed units out"
            )
        if repeated - crossed:
            self.fatal.append(
                f"{repeated - crossed:,} units of {ref} stand in more than one row: "
                "keep one row a unit"
            )
        if not repeated:
            self._note("unique", f"every {unit!r} stands in one row and one arm")

    def _levels(self, ref: str) -> None:
        counts = level_counts(self.source, ref, self.spec.segments)
        for segment, count in counts.items():
            if count > MOST_LEVELS:
                self.fatal.append(
                    f"segments: {segment!r} has {count:,} levels; the most is {MOST_LEVELS}"
                )

    def _values(
        self, look: UnitLook, columns: tuple[Column, ...], needed: Mapping[str, Needs]
    ) -> None:
        for c in columns:
            seen = look.values.get(c.name)
            if seen is None:
                continue
            metrics = [n for n, need in needed.items() if c in need.columns]
            of = f"of {look.rows:,} values of {c.value!r}"
            if seen.not_finite:
                self._fault("not_finite", f"{seen.not_finite:,} {of} are infinite or NaN", *metrics)
            if seen.not_binary:
                text = f"{seen.not_binary:,} {of} are neither 0 nor 1: not a proportion"
                self._fault("not_binary", text, *metrics)
            if seen.missing and c.missing == "error":
                text = f"{seen.missing:,} {of} are missing: say missing: drop or missing: zero"
                self._fault("missing_values", text, *metrics)
            elif seen.missing:
                done = "left out" if c.missing == "drop" else "counted as 0"
                self._note("missing", f"{seen.missing:,} {of} are missing and {done}")

    def _event_rows(self, ref: str, main: Timed | None, needed: Mapping[str, Needs]) -> None:
        if main is None or self.design.unit is None:
            return
        for event, table in self.data.events.items():
            using = {
                n: need for n, need in needed.items() for c in need.columns if c.event == event
            }
            if not has_event_after(
                self.source, ref, self.design.unit, main.at, table.table, table.at
            ):
                self.fatal.append(
                    f"data.events.{event}: no unit of {ref} has an event in {table.table} after "
                    f"its exposure; are {main.at!r}, {table.at!r} and the unit's id the right ones?"
                )
                continue
            self._note("events", f"{event}: there are events after exposure in {table.table}")
            sums = {c.value: c for need in using.values() for c in need.columns
                    if c.event == event and c.value is not None}  # fmt: skip
            found = event_faults(self.source, table.table, [str(v) for v in sums])
            for value, (missing, not_finite) in found.items():
                metrics = [
                    n for n, need in using.items() if any(c.value == value for c in need.columns)
                ]
                of = f"values of {value!r} in {table.table}"
                if not_finite:
                    self._fault("not_finite", f"{not_finite:,} {of} are infinite or NaN", *metrics)
                if missing and sums[value].missing == "error":
                    text = f"{missing:,} {of} are missing: say missing: drop or missing: zero"
                    self._fault("missing_values", text, *metrics)
                elif missing:
                    self._note("missing", f"{missing:,} {of} are missing")

    def _maturity(
        self, look: UnitLook, end: int | None, columns: tuple[Column, ...],
        needed: Mapping[str, Needs],
    ) -> None:  # fmt: skip
        if end is None or look.first is None:
            return
        for span in sorted({c.matures for c in columns if c.matures is not None}):
            metrics = [n for n, need in needed.items() if need.numerator.matures == span]
            counted = look.rows - look.later
            mature, days = look.mature[span], f"{span // 24}d" if span % 24 == 0 else f"{span}h"
            text = f"{mature:,} of {counted:,} units have had their {days} by {self.data.as_of}"
            if mature:
                self._note("mature", text)
                continue
            first = (look.first + dt.timedelta(microseconds=span * HOUR)).date()
            text = f"no unit has had its {days} by {self.data.as_of}; the first has on {first}"
            if set(metrics) & set(self.spec.primary):
                self.fatal.append(f"data.as_of: {text}")
            self._fault("no_mature_units", text, *metrics)
