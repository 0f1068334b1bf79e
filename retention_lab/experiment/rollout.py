"""A rollout's section and its table in; what the table holds, and every fault, out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from retention_lab.data.panel import Panel, panel_of
from retention_lab.data.source import Source, quoted
from retention_lab.errors import PlanError, counted, did_you_mean
from retention_lab.experiment.checks import Input
from retention_lab.experiment.covariates import Check
from retention_lab.experiment.incentive import Offer, outcomes
from retention_lab.experiment.sections import Incentive
from retention_lab.experiment.spec import Spec

KINDS = ("mean", "proportion")
MOST = 5_000_000  # rows that are brought into memory
UNEVEN = 1.5  # longest over shortest distance of two periods from which on one may be missing
LITTLE = 1e-9  # rounding of shares


def check(
    spec: Spec, source: Source
) -> tuple[Offer, tuple[Input, ...], list[Check], dict[str, str]]:
    """Hold a rollout against its table: one row a market and period.

    The offer, the table, what was checked, and by metric why it cannot be computed. Raises
    PlanError with all fatal faults of a stage at once.
    """
    checker = _Checker(spec, source)
    checker.run()
    return Offer(outcomes(spec)), checker.inputs, checker.checks, checker.faults


class _Checker:
    """Collects what is found, fault by fault."""

    def __init__(self, spec: Spec, source: Source) -> None:
        assert spec.incentive is not None
        self.spec, self.source = spec, source
        self.said: Incentive = spec.incentive
        self.ref = str(spec.data.units)
        self.inputs: tuple[Input, ...] = ()
        self.checks: list[Check] = []
        self.faults: dict[str, str] = {}
        self.fatal: list[str] = []

    def run(self) -> None:
        self._names()
        self._stop()
        self.inputs = (Input("units", self.ref, self.source.files(self.ref)),)
        self.source.spare_threads(self.inputs[0].paths)
        if not self.source.query("select 1 from t limit 1", t=self.ref):
            raise PlanError(f"{self.ref} has no rows")
        self._columns(self.source.columns(self.ref))
        self._stop()
        self._rows()
        self._stop()
        self._markets(panel_of(self.source, self.spec, self.said, self.spec.metrics))
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
            self.fatal.append("data.units: a rollout needs a table of one row a market and period")
        for m in spec.metrics:
            if m.kind not in KINDS:
                self.fatal.append(
                    f"metric {m.name!r} is a {m.kind}; in a table of markets and periods a metric "
                    f"is a {' or a '.join(KINDS)} of its column"
                )
            idle = [k for k in ("covariates", "cap", "pre") if getattr(m, k)]
            if idle:
                self.fatal.append(
                    f"metric {m.name!r}: a rollout does not use {', '.join(idle)}; covariates of "
                    "markets stand in incentive.covariates"
                )
        if spec.segments:
            self.fatal.append("segments: a rollout is not split; take them out of the file")
        for key in ("margin", "returns"):
            if getattr(said, key) is not None:
                self.fatal.append(f"incentive.{key}: a rollout keeps no ledger; take it out")

    def _columns(self, known: Mapping[str, str]) -> None:
        """Columns and their types."""
        said = self.said
        keys = {
            "incentive.market": (said.market, ("text", "number")),
            "incentive.period": (said.period, ("number", "date", "time")),
            "incentive.adopted": (said.adopted, ("number", "date", "time")),
            "incentive.weight": (said.weight, ("number",)),
        }
        wanted = [(k, c, may) for k, (c, may) in keys.items() if c is not None]
        wanted += [("incentive.covariates", c, ("number", "truth")) for c in said.columns]
        wanted += [(f"metric {m.name!r}", m.column, ("number", "truth")) for m in self.spec.metrics]
        for key, name, may in wanted:
            if name not in known:
                hint = did_you_mean(name, known)
                self.fatal.append(f"{key}: column {name!r} is not in {self.ref}{hint}")
            elif known[name] not in may and not self._empty(name):
                self.fatal.append(
                    f"{key}: column {name!r} of {self.ref} holds {known[name]}; it must be "
                    f"{' or '.join(may)}"
                )
        roles = [c for _, c, _ in wanted if c is not None]
        twice = sorted({c for c in roles if roles.count(c) > 1})
        if twice:
            self.fatal.append(f"incentive: column {', '.join(twice)} is named for two things")
        if self.fatal:
            return
        period, adopted = known[str(said.period)], known[str(said.adopted)]
        if self._empty(str(said.adopted)):
            self.fatal.append(NOBODY.format(said.adopted))
        elif (period == "number") != (adopted == "number"):
            self.fatal.append(
                f"incentive.adopted: {said.adopted!r} holds {adopted}, and the period {period}; "
                "adopted is the first treated period, written as periods are"
            )

    def _empty(self, name: str) -> bool:
        """Whether a column has no value (then its type says nothing)."""
        return not self.source.counts(self.ref, name)[0]

    def _rows(self) -> None:
        """One row a market and period; one start a market; numbers that are numbers."""
        said = self.said
        market, period = quoted(str(said.market)), quoted(str(said.period))
        adopted = quoted(str(said.adopted))
        fractional = self.source.fractional(self.ref)
        named = f"{market} is not null and {period} is not null"
        if said.period in fractional:
            named += f" and isfinite({period}::double)"
        (all_rows,) = self.source.query(
            f"select count(*) as n, count(*) filter ({named}) as named from t", t=self.ref
        )
        rows, kept = int(all_rows["n"]), int(all_rows["named"])
        if rows > MOST:
            self.fatal.append(f"{self.ref} has {rows:,} rows; give one row a market and period")
            return
        if not kept:
            self.fatal.append(f"{self.ref}: no row has a market and a period")
            return
        if kept < rows:
            left = counted(rows - kept, "row")
            self._note("rows_without_market", f"{left} without a market or a period: left out")
        (twice,) = self.source.query(
            f"select count(*) as n from (select 1 from t where {named} "
            f"group by {market}, {period} having count(*) > 1)",
            t=self.ref,
        )
        if twice["n"]:
            pairs = counted(int(twice["n"]), "market and period")
            self.fatal.append(
                f"{self.ref}: {pairs.replace('market and periods', 'pairs of market and period')} "
                "in more than one row; give one row each (sums and shares of its customers)"
            )
        (moved,) = self.source.query(
            f"select count(*) as n from (select 1 from t where {named} group by {market} having "
            f"count(distinct {adopted}) + max(({adopted} is null)::integer) > 1)",
            t=self.ref,
        )
        if moved["n"]:
            self.fatal.append(
                f"incentive.adopted: {counted(int(moved['n']), 'market')} with more than one value "
                f"of {said.adopted!r}; in all rows of a market it is its first treated period, or "
                "null where it never began"
            )
        if said.weight is not None:
            w = quoted(said.weight)
            odd = f" or not isfinite({w}::double)" if said.weight in fractional else ""
            (bad,) = self.source.query(
                f"select count(*) filter ({w} is null or {w} < 0{odd}) as n from t", t=self.ref
            )
            if bad["n"]:
                self.fatal.append(
                    f"incentive.weight: {counted(int(bad['n']), 'row')} without a weight, or with "
                    "one below 0"
                )
        for m in self.spec.metrics:
            self._metric(m.name, m.column, m.kind, m.missing, m.column in fractional)
        for name in said.columns:
            odd = "not isfinite(c::double)" if name in fractional else "false"
            (bad,) = self.source.query(
                f"select count(*) filter (c is null or {odd}) as n from "
                f"(select {quoted(name)} as c from t)",
                t=self.ref,
            )
            if bad["n"]:
                self.fatal.append(
                    f"incentive.covariates: {name!r} is missing or not finite in "
                    f"{counted(int(bad['n']), 'row')}"
                )

    def _metric(self, name: str, column: str, kind: str, missing: str, fractional: bool) -> None:
        """Values of an outcome: finite, a proportion's from 0 to 1."""
        x = f"{quoted(column)}::double"
        finite = f"isfinite({x})" if fractional else "true"
        (found,) = self.source.query(
            f"select count(*) - count({x}) as missing, count(*) filter (not {finite}) as odd, "
            f"count(*) filter ({x} < {-LITTLE} or {x} > {1 + LITTLE}) as outside from t",
            t=self.ref,
        )
        of = f"values of {column!r} (metric {name!r})"
        if found["odd"]:
            self._fault(name, "not_finite", f"{found['odd']:,} {of} are infinite or NaN")
        elif kind == "proportion" and found["outside"]:
            text = f"{found['outside']:,} {of} are not between 0 and 1"
            self._fault(name, "not_a_share", text)
        if found["missing"] and missing == "error":
            text = f"{found['missing']:,} {of} are missing; say missing: drop or zero"
            self._fault(name, "missing_values", text)
        elif found["missing"]:
            done = "count as 0" if missing == "zero" else "are left out"
            self._note("missing", f"{found['missing']:,} {of} are missing: they {done}")

    def _fault(self, metric: str, code: str, text: str) -> None:
        self._note(code, text, ok=False)
        self.faults.setdefault(metric, f"{code}: {text}")

    def _markets(self, panel: Panel) -> None:
        """Who began when, and whether anything is left to compare with."""
        never = int(np.isinf(panel.adopted).sum())
        treated = len(panel.adopted) - never
        (found,) = self.source.query(
            f"select count(distinct {quoted(str(self.said.market))}) as n from t "
            f"where {quoted(str(self.said.period))} is not null",
            t=self.ref,
        )
        early = int(found["n"]) - len(panel.adopted)
        if early:
            text = f"{counted(early, 'market')} treated from the first period on: left out, as "
            self._note("treated_from_start", text + "nothing is known of them before")
        if len(panel.periods) < 2:
            self.fatal.append(f"incentive.period: {self.ref} has one period; a rollout needs two")
            return
        if not treated:
            why = "that were not treated from the first period on " if early else ""
            self.fatal.append(
                f"incentive.adopted: no market {why}begins within the periods of {self.ref}: there "
                "is nothing to compare"
            )
            return
        starts = np.unique(panel.adopted[np.isfinite(panel.adopted)])
        if not never and self.said.controls == "never":
            self.fatal.append(
                "incentive.controls: never, but every market begins; write controls: not_yet, or "
                "add markets that never began"
            )
        elif not never and len(starts) == 1:
            self.fatal.append(
                "incentive.adopted: all markets begin at once, so there is no market to compare "
                "with; add markets without it, or look at when each market's parcels really "
                "became faster"
            )
        if never == 1 and treated and self.said.controls == "never":
            self._note("one_control", "one market never begins: errors cannot be had", ok=False)
        text = f"{counted(treated, 'market')} begin at {counted(len(starts), 'time')}, "
        text += (
            f"{panel.periods[int(starts[0])]} to {panel.periods[int(starts[-1])]}; {never} never"
        )
        self._note("markets", text)
        if treated == 1:
            text = "one market begins: it is compared by synthetic difference-in-differences"
            self._note("one_treated", text)
        whole = len(panel.markets) * len(panel.periods)
        if len(panel) < whole:
            text = f"{whole - len(panel):,} of {whole:,} pairs of market and period have no row: "
            self._note("gaps", text + "a change is taken where both of its periods are known")
        self._steps()
        for name in self.said.columns:
            self._covariate(name)

    def _steps(self) -> None:
        """Whether a whole period is missing from the table."""
        period = str(self.said.period)
        kind = self.source.columns(self.ref)[period]
        of = f"{quoted(period)}::double"
        if kind != "number":
            of = f"({self.source.instant(self.ref, period)})::double"
        rows = self.source.query(
            f"select distinct {of} as p from t where p is not null", t=self.ref
        )
        steps = np.diff(np.sort([float(r["p"]) for r in rows]))
        if len(steps) > 1 and steps.max() > UNEVEN * np.median(steps):
            text = "the periods are not evenly spaced: time since the start counts the table's "
            self._note("uneven_periods", text + "periods, and a whole period may be missing")

    def _covariate(self, name: str) -> None:
        (found,) = self.source.query(
            f"select count(*) as n from (select 1 from t group by {quoted(str(self.said.market))} "
            f"having count(distinct {quoted(name)}) > 1)",
            t=self.ref,
        )
        if found["n"]:
            text = f"covariate {name!r} changes in {counted(int(found['n']), 'market')}: "
            self._note("covariate", text + "that of the market's first period is taken")


NOBODY = "incentive.adopted: {!r} is empty: no market begins, so there is nothing to compare"
