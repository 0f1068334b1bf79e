"""A trial with a pre-period in; seconds from rows to every result, beside SQL and a peer, out.

The peer is tea-tasting, which needs Python 3.12: it runs in an environment of its own, made in the
cache folder (PEER_PYTHON names an interpreter, where 3.12 is not found). Every way starts from the
same Parquet file, in a process of its own, and is taken warm (best of some rounds) and at its first
time there. The peer has the engine that its own packages ask for, which may be a newer one than
the lab's: both are named. Reading the file's plan, which looks at all rows for what is wrong with
them (ids that come twice, missing values, arms), is measured by itself: no peer does it.

As a program: ``python -m benchmarks.analysis ours FILE`` (or ``sql``) prints seconds as JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks import data
from benchmarks.peers import environment

PEER = ("tea-tasting==2.0.0", "ibis-framework[duckdb]")
COVARIATES = ("pre_orders", "pre_revenue")
METRICS = {  # outcome columns and their covariates
    "repurchased": ("pre_orders",),
    "orders": ("pre_orders",),
    "revenue": ("pre_revenue",),
    "margin": ("pre_revenue",),
}
RATIO = ("revenue", "orders")
ROUNDS = 3


def side_by_side(folder: Path, rows: int, turns: int) -> dict[str, float]:
    """Median seconds over `turns` of each way, in turns, and the ratios turn by turn.

    Keys that end in ``_cpu_s`` are processor seconds, of all threads together; ``_engine`` is the
    number of DuckDB's version, such as 1.5.
    """
    file = data.trial(folder, rows)
    peer = environment("tea", PEER)
    ways = {
        "ours": [sys.executable, "-m", "benchmarks.analysis", "ours", str(file)],
        "sql": [sys.executable, "-m", "benchmarks.analysis", "sql", str(file)],
    }
    if peer is not None:
        script = Path(__file__).with_name("tea.py")
        ways["tea"] = [str(peer), str(script), str(data.trial_units(rows))]
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for i in range(turns):
        for name in list(ways) if i % 2 == 0 else list(reversed(ways)):
            done = subprocess.run(ways[name], capture_output=True, text=True, check=True)
            taken[name].append(json.loads(done.stdout.splitlines()[-1]))
    found = {
        f"{name}_{k}": statistics.median(t[k] for t in turns_of)
        for name, turns_of in taken.items()
        for k in turns_of[0]
    }

    def ratio(a: str, b: str, key: str, own: str = "all_s") -> float:
        pairs = zip(taken[a], taken[b], strict=True)
        return statistics.median(x[own] / y[key] for x, y in pairs)

    found["ours_over_sql"] = ratio("ours", "sql", "all_s")
    found["ours_over_sql_of_cells"] = ratio("ours", "sql", "cells_s")
    if peer is not None:
        found["looped_tea_over_ours"] = 1.0 / ratio("ours", "tea", "looped_s")
        found["tea_over_ours"] = 1.0 / ratio("ours", "tea", "whole_s")
        found["looped_tea_over_ours_cpu"] = 1.0 / ratio("ours", "tea", "looped_cpu_s", "all_cpu_s")
        found["tea_over_ours_cpu"] = 1.0 / ratio("ours", "tea", "whole_cpu_s", "all_cpu_s")
        found["first_tea_over_ours"] = 1.0 / ratio("ours", "tea", "whole_first_s", "first_s")
    return found


def ours(file: Path) -> dict[str, float]:
    """Seconds of the reductions, of all results from them, and of both; the best of some rounds.

    Beside them those of the first round, and of the plan.
    """
    import retention_lab as rl

    start = time.perf_counter()
    plan = rl.plan(file)
    once = {"plan_s": time.perf_counter() - start, "engine": engine(duckdb.__version__)}
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        start, used = time.perf_counter(), time.process_time()
        moments = rl.reduce(plan)
        reduced = time.perf_counter()
        rl.analyse(plan, moments)
        done = time.perf_counter()
        now = {
            "reduce_s": reduced - start,
            "analyse_s": done - reduced,
            "all_s": done - start,
            "all_cpu_s": time.process_time() - used,
        }
        once.setdefault("first_s", now["all_s"])
        best = min(best or now, now, key=lambda t: t["all_s"])
    return best | once


def engine(version: str) -> float:
    """The first two parts of a version, as a number."""
    return float(".".join(version.split(".")[:2]))


def by_hand(file: Path) -> dict[str, float]:
    """Seconds of the SQL for the same cells, and with that for the same buckets; the best."""
    import retention_lab as rl

    units = str(rl.load(file).data.assignments.table)  # type: ignore[union-attr]
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")

    def timed(*queries: str) -> float:
        start = time.perf_counter()
        for q in queries:
            connection.execute(q).fetchall()
        return time.perf_counter() - start

    cells = sql(units, "arm, region, entered_at::date")
    # Of ten million units the lab puts a tenth into buckets; so does this.
    buckets = sql(units, "hash(customer_id) % 2000", "where hash(customer_id) % 2000 < 200")
    ways: dict[str, Callable[[], float]] = {
        "cells_s": lambda: timed(cells),
        "all_s": lambda: timed(cells, buckets),
    }
    return {name: min(way() for _ in range(ROUNDS)) for name, way in ways.items()}


def sql(units: str, by: str, where: str = "") -> str:
    """What one would write by hand: counts, sums, and the sums of products that the tests need.

    No column here has a mean far from 0, so the constants to subtract are 0, and left out.
    """
    columns = (*METRICS, *COVARIATES)
    wanted = ["count(*)"]
    for c in columns:
        wanted += [f"count({c})", f"sum({c}::double)", f"sum({c}::double * {c}::double)"]
    crossed = [(y, x) for y, xs in METRICS.items() for x in xs]
    crossed += [RATIO, ("orders", "pre_revenue"), ("revenue", "pre_orders"), COVARIATES]
    wanted += [f"sum({a}::double * {b}::double)" for a, b in crossed]
    places = ", ".join(str(i + 1) for i in range(by.count(",") + 1))
    return f"select {by}, {', '.join(wanted)} from '{units}' {where} group by {places}"


if __name__ == "__main__":
    way, given = sys.argv[1:]
    print(json.dumps(ours(Path(given)) if way == "ours" else by_hand(Path(given))))
