"""One way to curves, Cox models or life tables in; its seconds, memory and what it found, out.

``python -m benchmarks.lives_ways WAY FILE`` prints them as JSON; `benchmarks.lives` runs the ways
in turns. CPU seconds are the user's and the system's, of all threads.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import numpy as np

from benchmarks import by_hand, data
from benchmarks.reduction import resident

FIRST = {  # the reference levels, which peers take from the order of the alphabet
    "region": "Africa",
    "channel": "direct",
    "device": "desktop",
    "basket": "100 to 200",
}
ROUNDS = 3
Took = dict[str, float]


class Clock:
    """Seconds and CPU seconds of named laps."""

    def __init__(self) -> None:
        self.took: Took = {}
        self._begun = self._last = self._now()

    def lap(self, name: str) -> None:
        now = self._now()
        for i, kind in enumerate(("s", "cpu_s")):
            self.took[f"{name}_{kind}"] = now[i] - self._last[i]
            self.took[f"all_{kind}"] = now[i] - self._begun[i]
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), used.ru_utime + used.ru_stime


def rounds_of(work: Callable[[Clock], Sequence[float]], rounds: int = ROUNDS) -> dict[str, Any]:
    """The least seconds, and apart from them the least CPU, over some rounds; the peak memory."""
    before = resident("VmRSS")
    clocks, found = [], []
    first = 0.0
    for i in range(rounds):
        clock = Clock()
        found = [float(v) for v in work(clock)]
        clocks.append(clock.took)
        first = resident("VmHWM") - before if i == 0 else first
    took = {k: min(c[k] for c in clocks) for k in clocks[0]}
    took |= {"over_imports_mb": first, "over_imports_all_rounds_mb": resident("VmHWM") - before}
    return {"took": took, "found": found}


def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set enable_progress_bar = false")
    return connection


def _cells(files: str, columns: Sequence[str]) -> str:
    return f"select {', '.join(columns)}, day, event, count(*) as n from '{files}' group by all"


def _fetched(
    connection: duckdb.DuckDBPyConnection, files: str, names: Sequence[str]
) -> dict[str, Any]:
    """The counts as `LifeTable.of` takes them: numbers as numpy, text in Arrow's format."""
    found = connection.execute(_cells(files, names)).to_arrow_table()
    stop, cause, n = (found[c].to_numpy() for c in ("day", "event", "n"))
    return {"stop": stop, "cause": cause, "n": n, "split": {c: found[c] for c in names}}


def curves(files: str) -> dict[str, Any]:
    """Kaplan-Meier by cohort with limits, and the log-rank test, from the rows."""
    from retention_lab.data.lifetable import LifeTable
    from retention_lab.survival.curves import kaplan_meier
    from retention_lab.survival.logrank import logrank
    from retention_lab.survival.steps import grid

    connection = _connection()
    LifeTable.of([1.0], [1], cohort=np.array(["a"], object))  # imports pyarrow

    def work(clock: Clock) -> Sequence[float]:
        counts = _fetched(connection, files, ("cohort",))
        clock.lap("cells")
        table = LifeTable.of(**counts)
        groups = grid(table, "cohort")
        for i in range(len(groups.labels)):
            kaplan_meier(groups.steps(i))
        test = logrank(table, "cohort")
        clock.lap("answer")
        return [test.chi2 or 0.0]

    return rounds_of(work)


def curves_sql(files: str) -> dict[str, Any]:
    """The bare GROUP BY of the same cells."""
    connection = _connection()

    def work(clock: Clock) -> Sequence[float]:
        connection.execute(_cells(files, ("cohort",))).fetchall()
        clock.lap("cells")
        return ()

    return rounds_of(work)


def cox(files: str) -> dict[str, Any]:
    """Cox's model with Efron's ties, from the rows."""
    from retention_lab.data.lifetable import LifeTable
    from retention_lab.survival.model.cox import fit_cox
    from retention_lab.survival.model.design import design

    connection = _connection()
    LifeTable.of([1.0], [1], cohort=np.array(["a"], object))  # imports pyarrow
    names = data.COVARIATES

    def work(clock: Clock) -> Sequence[float]:
        counts = _fetched(connection, files, names)
        clock.lap("cells")
        table = LifeTable.of(**counts)
        clock.lap("table")
        rows = design(table, names, references=FIRST)
        clock.lap("design")
        fit = fit_cox(rows)
        clock.lap("fit")
        return fit.coef.tolist()

    return rounds_of(work)


def cox_hand(files: str) -> dict[str, Any]:
    """The same by a GROUP BY and numpy for this one model; and of it GROUP BY and tied deaths.

    ``cells_and_sums`` is the GROUP BY and Efron's five sums over the deaths, once an iteration and
    once at the start, without all else that a fit needs: less than anybody can do.
    """
    connection = _connection()

    def work(clock: Clock) -> Sequence[float]:
        c = connection.execute(_cells(files, data.COVARIATES)).fetchnumpy()
        clock.lap("cells")
        fit = by_hand.fit(c, FIRST)
        clock.lap("fit")
        took = clock.took
        for kind in ("s", "cpu_s"):
            whole = took[f"cells_{kind}"]
            took[f"cells_and_sums_all_{kind}"] = whole
        begin = Clock()
        for _ in range(fit.iterations + 1):
            by_hand.five_sums(fit.s0, fit.t0, fit.deaths)
        begin.lap("sums")
        took["cells_and_sums_all_s"] += begin.took["sums_s"]
        took["cells_and_sums_all_cpu_s"] += begin.took["sums_cpu_s"]
        return fit.coef.tolist()

    return rounds_of(work)


def robust(files: str, rows: str) -> dict[str, Any]:
    """A fit with robust errors of single rows with 14 numbers each, and its errors apart."""
    from retention_lab.survival.model.cox import fit_cox, state_of
    from retention_lab.survival.model.data import SurvivalData
    from retention_lab.survival.model.likelihood import State
    from retention_lab.survival.model.robust import sandwich

    names = data.COVARIATES
    columns = [f"({c} = '{level}')::double" for c in names for level in _others(files, c)]
    listed = ", ".join(f"{sql} as x{i}" for i, sql in enumerate(columns))
    query = f"select day, event, {listed} from (from '{files}' limit {int(rows)})"
    found = _connection().execute(query).fetchnumpy()
    x = np.column_stack([found[f"x{i}"] for i in range(len(columns))])
    day, event = found["day"].astype(float), found["event"]
    del found

    def work(clock: Clock) -> Sequence[float]:
        checked = SurvivalData.of(day, event, x)
        clock.lap("check")
        fit = fit_cox(checked, robust=True)
        clock.lap("fit")
        assert fit.robust_error is not None
        state = state_of(fit, checked)
        scale = state.problem.scale
        assert isinstance(state, State)
        clock.lap("state")
        sandwich(state, fit.covariance * np.outer(scale, scale))
        clock.lap("errors")
        for key in ("all_s", "all_cpu_s"):
            last = key.removeprefix("all_")
            clock.took[key] -= clock.took[f"state_{last}"] + clock.took[f"errors_{last}"]
        return fit.coef.tolist()

    return rounds_of(work)


def _others(files: str, column: str) -> list[str]:
    found = _connection().execute(f"select distinct {column} from '{files}' order by 1").fetchall()
    return [level for (level,) in found if level != FIRST[column]]


def orders(file: str) -> dict[str, Any]:
    """The life table of an experiment file's orders, and apart from it the look at its tables.

    The memory is the peak of both; the engine has its own limit, as everywhere in the lab.
    """
    import retention_lab as rl
    from retention_lab.data.lifetable import LifeTable
    from retention_lab.data.lives import lives

    LifeTable.of([1.0], [1], cohort=np.array(["a"], object))  # imports pyarrow
    before, look = resident("VmRSS"), Clock()
    plan = rl.plan(file)
    look.lap("plan")

    def work(clock: Clock) -> Sequence[float]:
        table = lives(plan)
        clock.lap("lives")
        return [float(table.size), float(table.events["event"])]

    said = rounds_of(work, 1)
    said["took"] |= {k: look.took[k] for k in ("plan_s", "plan_cpu_s")}
    said["took"] |= dict.fromkeys(
        ("over_imports_mb", "over_imports_all_rounds_mb"), resident("VmHWM") - before
    )
    return said


# The first order of each customer, with its region: the least of those at that moment.
FIRST_ORDERS = (
    'select customer_id, min("at") as began, min(struct_pack(a := "at", region := region)).region '
    "as region from '{orders}' group by 1"
)


def orders_sql(files: str) -> dict[str, Any]:
    """The same counts as one would write them by hand."""
    query = (
        f"with first as ({FIRST_ORDERS}), waited as ("
        "select customer_id, any_value(f.began)::date as origin, any_value(f.region) as region, "
        'min(case when o."at"::date > f.began::date then o."at"::date end) as next '
        "from '{orders}' o join first f using (customer_id) group by 1) "
        "select year(origin), quarter(origin), region, "
        "least(coalesce(next - origin, 99999), date '2026-06-30' - origin, 365) as day, "
        "coalesce(next - origin <= least(365, date '2026-06-30' - origin), false) as event, "
        "count(*) as n from waited group by all"
    ).format(orders=files)
    connection = _connection()

    def work(clock: Clock) -> Sequence[float]:
        c = connection.execute(query).fetchnumpy()
        clock.lap("cells")
        kept = c["day"] > 0
        return [float(c["n"].sum()), float(c["n"][c["event"] & kept].sum())]

    return rounds_of(work, 1)


def orders_join(files: str) -> dict[str, Any]:
    """The bare join: every order with its customer's first, and one sum over all of it."""
    first = f"""select customer_id, min("at") as began from '{files}' group by 1"""
    query = (
        'select count(*), sum(epoch_us(o."at") - epoch_us(began)) '
        f"from '{files}' o join ({first}) using (customer_id)"
    )
    connection = _connection()

    def work(clock: Clock) -> Sequence[float]:
        connection.execute(query).fetchall()
        clock.lap("join")
        return ()

    return rounds_of(work, 1)


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    w.__name__: w
    for w in (curves, curves_sql, cox, cox_hand, robust, orders, orders_sql, orders_join)
}


if __name__ == "__main__":
    asked, *given = sys.argv[1:]
    print(json.dumps(WAYS[asked](*given)))
