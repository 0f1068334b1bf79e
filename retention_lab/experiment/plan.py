"""An experiment file and its real tables in; a `Plan` that can be run, or every fault, out."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retention_lab.data.look import UnitLook
from retention_lab.data.source import Source
from retention_lab.errors import PlanError
from retention_lab.experiment.checks import Checker, Input
from retention_lab.experiment.cohort import Cohort, check_cohorts
from retention_lab.experiment.covariates import Check
from retention_lab.experiment.load import load
from retention_lab.experiment.needs import Needs, all_columns
from retention_lab.experiment.spec import Spec
from retention_lab.paths import project_root

__all__ = ["Check", "Input", "Plan", "make_plan"]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """An experiment that was checked against its tables: what to read, and what was found.

    `arms` has the control first; `needed` is what every metric reads; `faults` says, by metric,
    why it cannot be computed. `cohort` is what was found of a survival section.
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
    cohort: Cohort | None = None

    @property
    def definition(self) -> str:
        """What the columns of the reduction mean, as JSON: equal where reductions may merge."""
        data = self.spec.data
        content: dict[str, Any] = {
            "as_of": str(data.as_of) if data.as_of else None,
            "timezone": data.timezone,
            "randomised": self._randomised(),
        }
        for c in all_columns(dict(self.needed)):
            said = dataclasses.asdict(c) | {"name": None}
            if c.cap is not None:
                said["cap"] = c.cap.model_dump(exclude_none=True)
            content[c.name] = {k: v for k, v in said.items() if v is not None and v is not False}
        return json.dumps(content, sort_keys=True)

    def _randomised(self) -> Any:
        design = self.spec.design
        if design is None or design.randomised is None:
            return None
        if design.switchback is None:
            return design.cluster
        said = design.switchback.model_dump(mode="json")
        return {k: v for k, v in said.items() if k != "start" or v is not None}

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
    arms: tuple[str, ...] = ()
    inputs: dict[str, Input] = {}
    needed: dict[str, Needs] = {}
    faults: dict[str, str] = {}
    checks: list[Check] = []
    look: UnitLook | None = None
    cohort: Cohort | None = None
    if spec.design is not None and spec.data.homes:
        checker = Checker(spec, source)
        checker.run()
        arms, needed, faults, look = checker.arms, checker.needed, checker.faults, checker.look
        inputs, checks = {i.name: i for i in checker.inputs}, checker.checks
        _reads_whole_tables(spec, needed)
    if spec.survival is not None:
        cohort, more, found = check_cohorts(spec, source, arms)
        inputs |= {i.name: i for i in more}
        checks = [*checks, *(c for c in found if c not in checks)]
        if cohort.arms and spec.design is not None and not arms:
            control = spec.design.control
            arms = (control, *(a for a in cohort.arms if a != control))
    return Plan(
        spec=spec,
        path=path,
        root=root,
        overrides=dict(overrides or {}),
        source=source,
        arms=arms,
        inputs=tuple(inputs.values()),
        needed=needed,
        checks=tuple(checks),
        faults=faults,
        look=look,
        cohort=cohort,
    )


def _found(path: Path) -> Path:
    """`path` from here, or else from the root of the project that one stands in."""
    here = path.absolute()
    other = project_root(Path.cwd()) / path
    return other if other.is_file() and not here.is_file() else here


def _exists_yet(spec: Spec) -> None:
    """Refuse, by name, what a later version will do."""
    absent = [
        (spec.incentive is not None, "incentive: incentive effects"),
    ]
    faults = [
        f"{what} cannot be analysed yet; take it out of the file" for is_in, what in absent if is_in
    ]
    if spec.inference.sequential and spec.design is not None:
        if spec.data.units is not None:
            faults.append("inference.sequential needs assignments: when each unit entered")
        if spec.design.randomised is not None:
            faults.append("inference.sequential of clusters or blocks cannot be analysed yet")
    if spec.design is not None and spec.design.switchback is not None and spec.data.units:
        faults.append("design.switchback needs assignments: when each unit came")
    for m in spec.metrics:
        if m.kind != "quantile":
            continue
        if spec.design is not None and spec.design.randomised is not None:
            faults.append(
                f"metric {m.name!r}: a quantile of clusters or blocks cannot be analysed yet"
            )
        if m.covariates:
            faults.append(f"metric {m.name!r}: a quantile is not adjusted; take out covariates")
        if spec.inference.sequential and (m.name in spec.primary or m.role == "guardrail"):
            faults.append(f"metric {m.name!r}: a quantile cannot be tested at every look")
    if (spec.design is None or not spec.metrics) and spec.survival is None:
        faults.append("there is nothing to analyse: an A/B test needs a design and metrics")
    if faults:
        raise PlanError("\n".join(faults))


def _reads_whole_tables(spec: Spec, needed: Mapping[str, Needs]) -> None:
    """Refuse metrics of events of which only some rows count: metrics read them all."""
    read = {c.event for need in needed.values() for c in need.columns}
    faults = [
        f"data.events.{name}: metrics do not know where and id yet; give the survival section "
        "events of its own"
        for name, table in spec.data.events.items()
        if name in read and (table.where or table.id)
    ]
    if faults:
        raise PlanError("\n".join(faults))
