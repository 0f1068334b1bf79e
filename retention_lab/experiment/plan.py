"""An experiment file and its real tables in; a `Plan` that can be run, or every fault, out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention_lab.data.counted import said_of
from retention_lab.data.look import UnitLook
from retention_lab.data.source import Source
from retention_lab.errors import PlanError
from retention_lab.experiment.checks import Checker
from retention_lab.experiment.cohort import Cohort, check_cohorts
from retention_lab.experiment.findings import Check, Input
from retention_lab.experiment.load import load
from retention_lab.experiment.needs import ROWS, Needs, all_columns
from retention_lab.experiment.spec import Spec
from retention_lab.paths import project_root

if TYPE_CHECKING:
    from retention_lab.experiment.incentive import Offer

__all__ = ["Check", "Input", "Plan", "make_plan"]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """An experiment that was checked against its tables: what to read, and what was found.

    `arms` has the control first; `needed` is what every metric reads; `faults` says, by metric,
    why it cannot be computed. `cohort` is what was found of a survival section, `offer` of an
    incentive section.
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
    offer: Offer | None = None

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
        read = {c.event for c in all_columns(dict(self.needed)) if c.event is not None}
        rows = said_of(self.spec, frozenset(read))
        content |= {ROWS: rows} if rows else {}
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
        import html

        marks = {True: "✓", False: "✗"}
        rows = (
            f"<tr><td>{marks[c.ok]}</td><td>{html.escape(c.text)}</td></tr>" for c in self.checks
        )
        return f"<table>{''.join(rows)}</table>"


def make_plan(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Load the experiment file at `path` and check it against its tables.

    `path` may be the bare name of a file in ``experiments/``, as on the command line.

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
    offer: Offer | None = None
    if spec.design is not None and spec.data.homes:
        checker = Checker(spec, source)
        checker.run()
        arms, needed, faults, look = checker.arms, checker.needed, checker.faults, checker.look
        offer = checker.offer
        inputs, checks = {i.name: i for i in checker.inputs}, checker.checks
    if spec.undesigned:
        from retention_lab.experiment.undesigned import check_undesigned

        offer, table = check_undesigned(spec, source)
        inputs = {i.name: i for i in table.inputs}
        checks, faults = table.checks, table.faults
    if spec.incentive is not None:
        from retention_lab.experiment.incentive import unused

        checks = [*checks, *unused(spec)]
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
        offer=offer,
    )


def _found(path: Path) -> Path:
    """`path` from here, or else from the root of the project that one stands in; or its name."""
    here, root = path.absolute(), project_root(Path.cwd())
    others = (root / path, root / "experiments" / f"{path}.yaml")
    return next((p for p in (here, *others) if p.is_file()), here)


def _exists_yet(spec: Spec) -> None:
    """Refuse, by name, what a later version will do, and sections that do not fit together."""
    faults: list[str] = []
    if spec.incentive is not None:
        from retention_lab.experiment.incentive import named_faults

        faults += named_faults(spec)
    if spec.survival is not None and spec.survival.forecast is not None:
        faults.append("survival.forecast: a forecast cannot be made yet; take it out of the file")
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
    idle = (spec.design is None or not spec.metrics) and not spec.undesigned
    if idle and spec.survival is None:
        faults.append("there is nothing to analyse: an A/B test needs a design and metrics")
    if faults:
        raise PlanError("\n".join(faults))
