"""Ten million units in; seconds to an incentive's ledger, beside the bare scan of its sums, out.

Both read the same Parquet file, in turns, in a process of their own. The bare scan is one query:
for each arm the count, sums, and sums of the products that the ledger rests on, of revenue,
redemptions and whether a customer bought; it checks nothing and shifts nothing.

As a program: ``python -m benchmarks.ledger ours FILE`` (or ``scan``) prints what it took as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.lives import in_turns
from benchmarks.lives_ways import Clock, rounds_of

EXPERIMENT = """
schema: 1
name: bench-ledger
title: What did the coupon bring?
notebook: incentive_effect
data: {{units: "{units}"}}
design: {{arm: arm, control: none}}
metrics:
  - {{name: revenue, kind: mean, role: primary}}
  - {{name: margin, kind: mean}}
incentive:
  strategy: randomised
  revenue: revenue
  redeemed: repurchased
  margin: 0.35
  cost: {{contact: 0.05, redemption: 2}}
"""
SCAN = """
select arm, count(*), sum(revenue), sum(revenue * revenue), sum(repurchased),
  sum(revenue * repurchased), sum(margin), sum(margin * margin)
from '{units}' group by arm
"""


def side_by_side(folder: Path, rows: int, turns: int) -> dict[str, Any]:
    """Medians over `turns` of ours and of the bare scan, and their ratio turn by turn."""
    file = folder / "bench-ledger.yaml"
    file.write_text(EXPERIMENT.format(units=data.units(rows)), encoding="utf-8")
    ways = {w: [sys.executable, "-m", "benchmarks.ledger", w, str(file)] for w in ("ours", "scan")}
    return in_turns(ways, turns)


def ours(file: str) -> dict[str, Any]:
    """From the checked file to the rows of the ledger; the plan is made before."""
    import retention_lab as rl
    from retention_lab.incentives import analyse
    from retention_lab.incentives.strategies import randomised

    del analyse, randomised
    plan = rl.plan(file)

    def work(clock: Clock) -> list[float]:
        results = rl.analyse_incentive(plan, rl.reduce_incentive(plan))
        clock.lap("ledger")
        return [results.one(estimand="incremental_revenue").estimate or 0.0]

    return rounds_of(work, 3)


def scan(file: str) -> dict[str, Any]:
    """One query, and the difference of two means."""
    import duckdb
    import yaml

    units = yaml.safe_load(Path(file).read_text("utf-8"))["data"]["units"]
    connection = duckdb.connect()

    def work(clock: Clock) -> list[float]:
        rows = connection.execute(SCAN.format(units=units)).fetchall()
        clock.lap("scan")
        mean = {arm: total / n for arm, n, total, *_ in rows}
        (other,) = (m for a, m in mean.items() if a != "none")
        return [other - mean["none"]]

    return rounds_of(work, 3)


if __name__ == "__main__":
    print(json.dumps({"ours": ours, "scan": scan}[sys.argv[1]](sys.argv[2])))
