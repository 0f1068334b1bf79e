"""A file of units in; seconds and memory of our reduction, beside SQL, a scan and pandas, out.

As a program it works in a fresh process: ``python -m benchmarks.reduction memory FILE`` reduces
once and prints the memory that took; ``... pandas GLOB`` has pandas and scipy answer the same.
"""

from __future__ import annotations

import glob
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

COLUMNS = ("repurchased", "orders", "revenue", "margin")
CROSS = ("revenue", "orders")


def side_by_side(file: Path, rounds: int) -> dict[str, float]:
    """Median seconds of each way over `rounds` rounds in turns, and the median of our ratios.

    All ways run in this process with a warm page cache; the order turns round every round. The
    ratio of CPU time is of use where other programs share the machine.
    """
    import retention_lab as rl

    plan = rl.plan(file)
    units = str(plan.spec.data.units)
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: rl.reduce(plan),
        "sql": lambda: connection.execute(sql(units)).fetchall(),
        "scan": lambda: connection.execute(scan(units)).fetchall(),
    }
    check(ways["ours"](), ways["sql"]())
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds):
        for name in list(ways) if i % 2 == 0 else list(reversed(ways)):
            start, worked = time.perf_counter(), time.process_time()
            ways[name]()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - worked)
    return {
        **{f"{name}_s": statistics.median(taken) for name, taken in wall.items()},
        "ours_cpu_s": statistics.median(cpu["ours"]),
        "ours_over_sql": _ratio(wall["ours"], wall["sql"]),
        "ours_over_sql_cpu": _ratio(cpu["ours"], cpu["sql"]),
    }


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def sql(units: str) -> str:
    """What one would write by hand for these cells: counts, sums, and sums of products.

    The lab subtracts a constant only from columns whose mean is far from 0; here there is none,
    so the constants of this query are 0 as well, and left out.
    """
    wanted = ["count(*)"]
    for c in COLUMNS:
        wanted += [f"count({c})", f"sum({c}::double)", f"sum({c}::double * {c}::double)"]
    wanted.append("sum({}::double * {}::double)".format(*CROSS))
    return f"select arm, region, {', '.join(wanted)} from '{units}' group by arm, region"


def scan(units: str) -> str:
    """Reading every column that the reduction reads, and next to nothing else."""
    wanted = ", ".join(f"min({c})" for c in ("arm", "region", *COLUMNS))
    return f"select {wanted} from '{units}'"


def check(moments: Any, rows: list[tuple[Any, ...]]) -> None:
    """Both ways found the same; otherwise their times say nothing."""

    def same(a: float, b: float) -> bool:
        return abs(a - b) <= 1e-9 * abs(b)

    for arm, region, size, *sums in rows:
        i = moments.cell(arm, region)
        assert moments.size[i] == size
        total = {}
        for k, c in enumerate(COLUMNS):
            n, total[c], square = sums[3 * k : 3 * k + 3]
            p = moments.pair(c)
            assert moments.n[i, p] == n
            assert same(moments.mean(i, c), total[c] / n)
            assert same(moments.comoment[i, p], square - total[c] ** 2 / n)
        x, y = CROSS
        cross = sums[-1] - total[x] * total[y] / size
        assert same(moments.comoment[i, moments.pair(x, y)], cross)


def memory(file: Path) -> dict[str, float]:
    """Peak memory (MB) of plan and reduction over what the imports had taken, in this process."""
    import narwhals  # noqa: F401  (what imports take is not the reduction's)
    import numpy as np  # noqa: F401

    import retention_lab as rl

    plan_it, reduce_it = rl.plan, rl.reduce
    before = resident("VmRSS")
    start = time.perf_counter()
    plan = plan_it(file)
    planned = time.perf_counter()
    reduce_it(plan)
    done = time.perf_counter()
    return {
        "plan_s": planned - start,
        "reduce_s": done - planned,
        "imports_mb": before,
        "over_imports_mb": resident("VmHWM") - before,
    }


def with_pandas(units: str) -> dict[str, float]:
    """Welch's test of every metric, overall and in every region, by pandas and scipy."""
    import pandas as pd
    from scipy import stats

    before = resident("VmRSS")
    start = time.perf_counter()
    names = ["arm", "region", *COLUMNS]
    parts = [pd.read_parquet(p, columns=names) for p in sorted(glob.glob(units))]  # noqa: PTH207
    frame = pd.concat(parts)
    for _, cell in [("everyone", frame), *frame.groupby("region")]:
        arms = cell[cell["arm"] == "coupon"], cell[cell["arm"] == "none"]
        for c in COLUMNS:
            stats.ttest_ind(arms[0][c], arms[1][c], equal_var=False)
        for arm in arms:
            arm[list(CROSS)].cov()
    return {
        "seconds": time.perf_counter() - start,
        "over_imports_mb": resident("VmHWM") - before,
    }


def resident(name: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process in MB; Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {name} in /proc/self/status")


if __name__ == "__main__":
    way, given = sys.argv[1:]
    print(json.dumps(memory(Path(given)) if way == "memory" else with_pandas(given)))
