"""A rollout's section and its table in; what the table holds, and every fault, out."""

from __future__ import annotations

import numpy as np

from retention_lab.data.panel import Panel, panel_of
from retention_lab.data.sql import quoted
from retention_lab.errors import counted
from retention_lab.experiment.findings import TIMES
from retention_lab.experiment.undesigned import NUMBERS, Undesigned

MOST = 5_000_000  # rows that are brought into memory
UNEVEN = 1.5  # longest over shortest distance of two periods from which on one may be missing
IDLE = ("covariates", "cap", "pre")
INSTEAD = "covariates of markets stand in incentive.covariates"


class Rollout(Undesigned):
    """Holds a rollout against its table: one row a market and period."""

    what, rows_are = "a rollout", "a market and period"

    def _section(self) -> None:
        self._metrics("in a table of markets and periods", IDLE, INSTEAD)
        for key in ("margin", "returns"):
            if getattr(self.said, key) is not None:
                self.fatal.append(f"incentive.{key}: a rollout keeps no ledger; take it out")

    def _columns(self) -> None:
        said, known = self.said, self.source.columns(self.ref)
        keys = {
            "incentive.market": (said.market, ("text", "number")),
            "incentive.period": (said.period, ("number", *TIMES)),
            "incentive.adopted": (said.adopted, ("number", *TIMES)),
            "incentive.weight": (said.weight, ("number",)),
        }
        wanted = [(k, c, may) for k, (c, may) in keys.items() if c is not None]
        wanted += [("incentive.covariates", c, NUMBERS) for c in said.columns]
        wanted += [(f"metric {m.name!r}", m.column, NUMBERS) for m in self.spec.metrics]
        for key, name, may in wanted:
            self._fits(key, name, may)
        roles = [c for _, c, _ in wanted]
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

    def _rows(self) -> None:
        self._one_row_each()
        self._stop()
        self._markets(panel_of(self.source, self.spec, self.said, self.spec.metrics))

    def _one_row_each(self) -> None:
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
            text = f"{left} without a market or a period: left out"
            self._note("rows_without_market", text, n=rows - kept)
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
            self._values(m, binary=False)
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
            text += "nothing is known of them before"
            self._note("treated_from_start", text, markets=early)
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
        first, last = panel.periods[int(starts[0])], panel.periods[int(starts[-1])]
        times = f"{counted(len(starts), 'time')}, {first} to {last}"
        text = f"{counted(treated, 'market')} begin{'s' if treated == 1 else ''} at "
        text += f"{first if first == last else times}; {never} never"
        self._note("markets", text)
        if treated == 1:
            text = "one market begins: it is compared by synthetic difference-in-differences"
            if self.said.columns or self.said.weight:
                text += ", which uses neither covariates nor weights"
            self._note("one_treated", text)
        whole = len(panel.markets) * len(panel.periods)
        if len(panel) < whole:
            text = f"{whole - len(panel):,} of {whole:,} pairs of market and period have no row: "
            text += "a change is taken where both of its periods are known"
            self._note("gaps", text, pairs=whole - len(panel), all=whole)
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
            text += "that of the market's first period is taken"
            self._note("covariate", text, how="changes", markets=int(found["n"]), name=name)


NOBODY = "incentive.adopted: {!r} is empty: no market begins, so there is nothing to compare"
