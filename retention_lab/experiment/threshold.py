"""A threshold's section and its table in; what the table holds, and every fault, out."""

from __future__ import annotations

from retention_lab.data.look import look_at_covariates
from retention_lab.data.source import Source
from retention_lab.data.threshold import number
from retention_lab.errors import counted
from retention_lab.experiment.covariates import MOST_LEVELS
from retention_lab.experiment.incentive import Offer, outcomes
from retention_lab.experiment.needs import MISSING_LEVEL, Column
from retention_lab.experiment.sections import Known
from retention_lab.experiment.spec import Spec
from retention_lab.experiment.undesigned import NUMBERS, Undesigned

LEAST_UNITS = 20  # of each side
LEAST_VALUES = 10  # different ones of each side
SHARED = 0.2  # of a side's units with another's value, from which that is told


IDLE = ("covariates", "pre")
INSTEAD = "columns that must not jump at the limit stand in incentive.covariates"


class Threshold(Undesigned):
    """Holds a threshold against its table: one row a unit."""

    what, rows_are = "a threshold", "a unit"

    def __init__(self, spec: Spec, source: Source) -> None:
        super().__init__(spec, source)
        self.covariates: list[Column] = []

    def _offer(self) -> Offer:
        return Offer(outcomes(self.spec), covariates=tuple(self.covariates))

    def _rows(self) -> None:
        self._running()
        for m in self.spec.metrics:
            self._values(m, binary=True)
        self._named_covariates()

    def _section(self) -> None:
        self._metrics("about a threshold", IDLE, INSTEAD)
        if self.spec.inference.sequential:
            self.fatal.append("inference.sequential: a threshold is looked at once; take it out")
        if any(isinstance(c, Known) for c in self.said.covariates):
            self.fatal.append(
                "incentive.covariates: a time (at) is held against an exposure, and a threshold "
                "has none; name the column alone"
            )

    def _columns(self) -> None:
        said = self.said
        metrics = {m.column: m.name for m in self.spec.metrics}
        self._fits("incentive.running", str(said.running), ("number",))
        for m in self.spec.metrics:
            self._fits(f"metric {m.name!r}", m.column, NUMBERS)
        for name in said.columns:
            self._fits("incentive.covariates", name, (*NUMBERS, "text"))
        if said.running in metrics:
            self.fatal.append(
                f"incentive.running: {said.running!r} is what metric {metrics[said.running]!r} "
                "measures; what the limit is set on cannot be what it moves"
            )
        for name in said.columns:
            if name == said.running:
                self.fatal.append(
                    f"incentive.covariates: {name!r} is the running variable; take it out"
                )
            elif name in metrics:
                self.fatal.append(
                    f"incentive.covariates: {name!r} is what metric {metrics[name]!r} measures; a "
                    "covariate was known before the limit could act"
                )

    def _running(self) -> None:
        """Where the cutoff lies among the values of the running variable."""
        said, c = self.said, float(self.said.cutoff or 0.0)
        x = number(self.source, self.ref, str(said.running))
        of = f"{said.running!r} of {self.ref}"
        (found,) = self.source.query(
            "select count(*) as rows, count(*) filter (isfinite(x)) as n, "
            "min(x) filter (isfinite(x)) as least, max(x) filter (isfinite(x)) as most, "
            f"count(*) filter (isfinite(x) and x < {c!r}) as below, "
            f"count(distinct x) filter (isfinite(x) and x < {c!r}) as values_below, "
            f"count(distinct x) filter (isfinite(x) and x >= {c!r}) as values_above "
            f"from (select {x} as x from t)",
            t=self.ref,
        )
        rows, n, below = int(found["rows"]), int(found["n"]), int(found["below"])
        if not n:
            self.fatal.append(f"incentive.running: {of} has no value")
            return
        if n < rows:
            text = f"{rows - n:,} of {rows:,} units without {said.running!r} are left out"
            self._note("missing_running", text, n=rows - n, all=rows, name=said.running)
        if not found["least"] < c <= found["most"]:
            self.fatal.append(
                f"incentive.cutoff: {c:g} is not within the values of {of}, which go from "
                f"{found['least']:g} to {found['most']:g}; units on both sides are compared"
            )
            return
        sides = {
            "below": (below, int(found["values_below"])),
            "at or above": (n - below, int(found["values_above"])),
        }
        counts = ", ".join(f"{counted(u, 'unit')} {where}" for where, (u, _) in sides.items())
        if min(u for u, _ in sides.values()) < LEAST_UNITS:
            self.fatal.append(
                f"incentive.cutoff: {counts} {c:g}; each side needs {LEAST_UNITS} or more"
            )
            return
        for where, (units, values) in sides.items():
            if values < LEAST_VALUES:
                self.fatal.append(
                    f"incentive.running: {of} has {counted(values, 'different value')} {where} "
                    f"{c:g}; a line on each side needs {LEAST_VALUES} or more"
                )
            elif 1 - values / units >= SHARED:
                text = f"{counted(units, 'unit')} {where} {c:g} have {values:,} different values"
                self._note("mass_points", text + ": bandwidths hold ten of them or more")
        self._note("sides", f"{counts} {c:g}")
        self._placebos(c, float(found["least"]), float(found["most"]))

    def _placebos(self, c: float, least: float, most: float) -> None:
        for at in self.said.placebo_cutoffs:
            if at == c:
                self.fatal.append(
                    f"incentive.placebo_cutoffs: {at:g} is the cutoff itself; name values at which "
                    "nothing happens"
                )
            elif not least < at <= most:
                self.fatal.append(
                    f"incentive.placebo_cutoffs: {at:g} is not within the values of "
                    f"{self.said.running!r}, which go from {least:g} to {most:g}"
                )

    def _named_covariates(self) -> None:
        """Code each covariate: a number is itself, a text has a column for each level.

        Of two levels the second says it all. A missing number has a column of its own.
        """
        known = self.source.columns(self.ref)
        kinds = {n: known[n] for n in self.said.columns}
        for name, seen in look_at_covariates(self.source, self.ref, kinds, MOST_LEVELS).items():
            if kinds[name] == "text":
                levels = (*seen.levels, *([MISSING_LEVEL] if seen.missing else []))
                if len(levels) > MOST_LEVELS:
                    self.fatal.append(
                        f"incentive.covariates: {name!r} has more than {MOST_LEVELS} levels"
                    )
                    continue
                self.covariates += [
                    Column(name=f"{name}={level}", how="level", value=name, level=level, of=name)
                    for level in (levels if len(levels) > 2 else levels[1:])
                ]
                continue
            if seen.not_finite:
                text = f"{seen.not_finite:,} values of covariate {name!r} are infinite or NaN"
                self._note("covariate", f"{text}: it is left out", ok=False)
                continue
            self.covariates.append(Column(name=name, how="value", value=name, of=name))
            if seen.missing:
                text = f"{seen.missing:,} units without covariate {name!r}: left out of its test"
                self._note("covariate", text, how="test", n=seen.missing, all=seen.rows, name=name)
                missing = Column(name=f"{name} missing", how="missing", value=name, of=name)
                self.covariates.append(missing)
