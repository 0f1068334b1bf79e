"""A number of units in; a Parquet file of made-up units, the same on every machine, out."""

from __future__ import annotations

import textwrap
from pathlib import Path

import duckdb

from retention_lab.paths import cache_folder

REGIONS = ("Africa", "Europe", "Latin America", "Middle East", "North America", "South-East Asia")
CHUNK = 10_000_000

# Every number comes from a hash of the unit's id; a lognormal by Box and Muller. Whole cents, so
# that sums are the same in any order up to the last digits.
ROWS = """
select i as customer_id,
       if(draw(i, 1) < 0.5, 'none', 'coupon') as arm,
       regions[1 + floor(draw(i, 2) * 6)::int] as region,
       (orders > 0)::tinyint as repurchased,
       orders,
       round(orders * exp(3.6 + 0.8 * normal), 2) as revenue,
       round(orders * exp(3.6 + 0.8 * normal) * (0.2 + 0.3 * draw(i, 3)), 2) as margin
from (
  select i, {regions} as regions,
         (draw(i, 4) < 0.25)::tinyint + (draw(i, 4) < 0.08)::tinyint + (draw(i, 4) < 0.02)::tinyint
           as orders,
         sqrt(-2 * ln(1 - draw(i, 5))) * cos(6.283185307179586 * draw(i, 6)) as normal
  from range({start}, {stop}) as t(i))
"""

EXPERIMENT = """
schema: 1
name: bench
title: Five metrics, one of them a ratio
data: {{units: "{units}"}}
design: {{arm: arm, control: none}}
metrics:
  - {{name: repurchased, kind: proportion, role: primary}}
  - {{name: orders, kind: mean}}
  - {{name: revenue, kind: mean}}
  - {{name: margin, kind: mean}}
  - {{name: order_value, kind: ratio, numerator: revenue, denominator: orders}}
segments: [region]
"""


# Days of entry over a month, and what was bought before: half of it the same customer's habit.
TRIAL = """
select u.*, timestamp '2025-11-28' + to_seconds((draw(customer_id, 7) * 30 * 86400)::bigint)
         as entered_at,
       ((draw(customer_id, 8) < 0.5)::tinyint * orders + (draw(customer_id, 9) < 0.2)::tinyint)
         ::tinyint as pre_orders,
       round(0.5 * revenue + 20 * draw(customer_id, 10), 2) as pre_revenue
from ({rows}) as u
"""

TRIAL_EXPERIMENT = """
schema: 1
name: bench-trial
title: Five metrics, adjusted, by region and day of entry
data: {{assignments: {{table: "{units}", at: entered_at}}, as_of: 2026-01-15}}
design: {{unit: customer_id, arm: arm, control: none}}
metrics:
  - {{name: repurchased, kind: proportion, role: primary, covariates: [pre_orders]}}
  - {{name: orders, kind: mean, covariates: [pre_orders]}}
  - {{name: revenue, kind: mean, covariates: [pre_revenue]}}
  - {{name: margin, kind: mean, covariates: [pre_revenue]}}
  - {{name: order_value, kind: ratio, numerator: revenue, denominator: orders}}
segments: [region]
inference: {{sequential: confidence_sequence}}
"""


def units(rows: int) -> Path:
    """A Parquet file (up to 10M units) or a folder of them, made once in the cache folder.

    The path may be read by DuckDB as it is: ``.../units-10M/*.parquet``.
    """
    return _made("units", ROWS, rows)


def trial_units(rows: int) -> Path:
    """The same units with a time of entry and two numbers from before it."""
    return _made("trial", TRIAL.replace("{rows}", ROWS), rows)


def trial(folder: Path, rows: int) -> Path:
    """The experiment file of the analysis benchmark on `rows` units, written into `folder`."""
    path = folder / "bench-trial.yaml"
    content = textwrap.dedent(TRIAL_EXPERIMENT).format(units=trial_units(rows))
    path.write_text(content, encoding="utf-8")
    return path


def _made(name: str, rows_sql: str, rows: int) -> Path:
    folder = cache_folder() / "bench" / f"{name}-{rows // 1_000_000}M"
    folder.mkdir(parents=True, exist_ok=True)
    regions = "[" + ", ".join(f"'{r}'" for r in REGIONS) + "]"
    with duckdb.connect() as connection:
        connection.execute("set preserve_insertion_order = false")
        connection.execute("set enable_progress_bar = false")
        connection.execute("create macro draw(i, k) as hash(i * 16 + k) / 18446744073709551616.0")
        for start in range(0, rows, CHUNK):
            path = folder / f"part-{start // CHUNK:02d}.parquet"
            if path.exists():
                continue
            query = rows_sql.format(regions=regions, start=start, stop=min(start + CHUNK, rows))
            draft = path.with_suffix(".making")
            connection.execute(f"copy ({query}) to '{draft}' (format parquet)")
            draft.rename(path)
    return folder / "*.parquet"


def experiment(folder: Path, rows: int) -> Path:
    """The experiment file of the benchmark on `rows` units, written into `folder`."""
    path = folder / "bench.yaml"
    path.write_text(textwrap.dedent(EXPERIMENT).format(units=units(rows)), encoding="utf-8")
    return path
