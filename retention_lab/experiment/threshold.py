"""A threshold's section and its table in; what the table holds, and every fault, out."""

from __future__ import annotations

from collections.abc import Mapping

from retention_lab.data.look import look_at_covariates
from retention_lab.data.source import Source, quoted
from retention_lab.data.threshold import number
from retention_lab.errors import PlanError, counted, did_you_mean
from retention_lab.experiment.checks import Input
from retention_lab.experiment.covariates import MOST_LEVELS, Check
from retention_lab.experiment.incentive import Offer, outcomes
from retention_lab.experiment.needs import MISSING_LEVEL, Column
from retention_lab.experiment.sections import Incentive, Known
from retention_lab.experiment.spec import Metric, Spec

KINDS = ("mean", "proportion")
LEAST_UNITS = 20  # of each side
LEAST_VALUES = 10  # different ones of each side
SHARED = 0.2  # of a side's units with another's value, from which that is told


def check(
    spec: Spec, source: Source
) -> tuple[Offer, tuple[Input, ...], list[Check], dict[str, str]]:
    """Hold a threshold against its table: one row a unit.

    The offer, the table, what was checked, and by metric why it cannot be computed. Raises
    PlanError with all fatal faults of a stage at once.
    """
    checker = _Checker(spec, source)
    checker.run()
    offer = Offer(outcomes(spec), covariates=tuple(checker.covariates))
    return offer, checker.inputs, checker.checks, checker.faults


class _Checker:
    """Collects what is found, fault by fault."""

    def __init__(self, spec: Spec, source: Source) -> None:
        assert spec.incentive is not None
        self.spec, self.source = spec, source
        self.said: Incentive = spec.incentive
        self.ref = str(spec.data.units)
        self.inputs: tuple[Input, ...] = ()
        self.checks: list[Check] = []
        self.covariates: list[Column] = []
        self.faults: dict[str, str] = {}
        self.fatal: list[str] = []

    def run(self) -> None:
        self._names()
        self._stop()
        self.inputs = (Input("units", self.ref, self.source.files(self.ref)),)
        self.source.spare_threads(self.inputs[0].paths)
        if not self.source.query("select 1 from t limit 1", t=self.ref):
            raise PlanError(f"{self.ref} has no rows")
        known = self.source.columns(self.ref)
        self._columns(known)
        self._stop()
        self._running()
        for m in self.spec.metrics:
            self._metric(m)
        self._named_covariates(known)
        self._stop()

    def _stop(self) -> None:
        if self.fatal:
            raise PlanError(self.source.conceal("\n".join(dict.fromkeys(self.fatal))))

    def _note(self, code: str, text: str, ok: bool = True) -> None:
        self.checks.append(Check(code, ok, text))

    def _names(self) -> None:
        """What can be seen without a table."""
        spec, said = self.spec, self.said
        if spec.data.units is None:
            self.fatal.append("data.units: a threshold needs a table of one row a unit")
        for m in spec.metrics:
            if m.kind not in KINDS:
                self.fatal.append(
                    f"metric {m.name!r} is a {m.kind}; about a threshold a metric is a "
                    f"{' or a '.join(KINDS)} of a column of the units"
                )
            idle = [k for k in ("covariates", "pre") if getattr(m, k)]
            if idle:
                self.fatal.append(
                    f"metric {m.name!r}: a threshold does not use {', '.join(idle)}; columns that "
                    "must not jump at the limit stand in incentive.covariates"
                )
        if spec.segments:
            self.fatal.append("segments: a threshold is not split; take them out of the file")
        if spec.inference.sequential:
            self.fatal.append("inference.sequential: a threshold is looked at once; take it out")
        if any(isinstance(c, Known) for c in said.covariates):
            self.fatal.append(
                "incentive.covariates: a time (at) is held against an exposure, and a threshold "
                "has none; name the column alone"
            )

    def _columns(self, known: Mapping[str, str]) -> None:
        """Columns and their types."""
        said = self.said
        metrics = {m.column: m.name for m in self.spec.metrics}
        wanted: list[tuple[str, str, tuple[str, ...]]]
        wanted = [("incentive.running", str(said.running), ("number",))]
        wanted += [(f"metric {m.name!r}", m.column, ("number", "truth")) for m in self.spec.metrics]
        wanted += [("incentive.covariates", c, ("number", "truth", "text")) for c in said.columns]
        for key, name, may in wanted:
            if name not in known:
                hint = did_you_mean(name, known) or f"; it has {', '.join(known)}"
                self.fatal.append(f"{key}: column {name!r} is not in {self.ref}{hint}")
            elif known[name] not in may:
                self.fatal.append(
                    f"{key}: column {name!r} of {self.ref} holds {known[name]}; it must be "
                    f"{' or '.join(may)}"
                )
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
            self._note("missing_running", text)
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

    def _metric(self, m: Metric) -> None:
        """Values of an outcome: finite, a proportion's 0 or 1."""
        (found,) = self.source.query(
            "select count(*) as n, count(*) - count(y) as missing, "
            "count(*) filter (not isfinite(y)) as odd, "
            "count(*) filter (isfinite(y) and y not in (0, 1)) as not_binary "
            f"from (select {quoted(m.column)}::double as y from t)",
            t=self.ref,
        )
        of = f"of {found['n']:,} values of {m.column!r}"
        if found["odd"]:
            self._fault(m.name, "not_finite", f"{found['odd']:,} {of} are infinite or NaN")
        elif m.kind == "proportion" and found["not_binary"]:
            text = f"{found['not_binary']:,} {of} are neither 0 nor 1: not a proportion"
            self._fault(m.name, "not_binary", text)
        if found["missing"] and m.missing == "error":
            text = f"{found['missing']:,} {of} are missing: say missing: drop or missing: zero"
            self._fault(m.name, "missing_values", text)
        elif found["missing"]:
            done = "left out" if m.missing == "drop" else "counted as 0"
            self._note("missing", f"{found['missing']:,} {of} are missing and {done}")

    def _fault(self, metric: str, code: str, text: str) -> None:
        self._note(code, text, ok=False)
        self.faults.setdefault(metric, f"{code}: {text}")

    def _named_covariates(self, known: Mapping[str, str]) -> None:
        """Code each covariate: a number is itself, a text has a column for each level.

        Of two levels the second says it all. A missing number has a column of its own.
        """
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
                self._note("covariate", text)
                missing = Column(name=f"{name} missing", how="missing", value=name, of=name)
                self.covariates.append(missing)
