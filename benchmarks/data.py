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

# Customers with four columns of text that make 14 indicators (360 patterns), six cohorts, and the
# day of the next order or of the end of follow-up: waits are exponential, and 59 in 100 are seen to
# end.
LIVES = """
select '2025-0' || 1 + floor(draw(i, 1) * 6)::int as cohort,
       regions[1 + region] as region,
       ['direct', 'email', 'search', 'social'][1 + channel] as channel,
       ['desktop', 'mobile', 'tablet'][1 + device] as device,
       ['below 20', '20 to 50', '50 to 100', '100 to 200', '200 and more'][1 + basket] as basket,
       least(wait, seen)::smallint as day,
       (wait <= seen)::tinyint as event
from (
  select *, floor(-ln(1 - draw(i, 2)) / 0.004 / exp(
                  0.1 * region - 0.2 * channel + 0.15 * device - 0.1 * basket))::bigint as wait,
         least(365, floor(draw(i, 7) * 730))::bigint as seen
  from (
    select i, {regions} as regions, floor(draw(i, 3) * 6)::int as region,
           floor(draw(i, 4) * 4)::int as channel, floor(draw(i, 5) * 3)::int as device,
           floor(draw(i, 6) * 5)::int as basket
    from range({start}, {stop}) as t(i)))
"""
COVARIATES = ("region", "channel", "device", "basket")

# Ten orders a customer in all; the first tenth of the rows gives everyone one. Customers begin in
# six quarters, and order the more often the shorter ago they began.
ORDERS = """
select customer_id, regions[1 + floor(draw(customer_id, 2) * 6)::int] as region,
       timestamp '2024-07-01'
         + to_seconds((86400 * (began + draw(i, 3) ** 2 * (729 - began)))::bigint) as at,
       round(exp(3.6 + 0.8 * draw(i, 4)), 2) as revenue
from (
  select *, {regions} as regions, draw(customer_id, 1) * 549 as began
  from (
    select i, if(i < {all} // 10, i, floor(draw(i, 5) ** 2 * ({all} // 10))::bigint) as customer_id
    from range({start}, {stop}) as t(i)))
"""

ORDERS_EXPERIMENT = """
schema: 1
name: bench-orders
title: When customers order again, by quarter and region
data: {{events: {{orders: {{table: "{orders}", at: at}}}}, as_of: 2026-06-30}}
survival:
  unit: customer_id
  origin: first orders
  event: next orders
  cohorts: quarter
  by: [region]
"""


def lives(rows: int) -> Path:
    """Customers with cohort, covariates, day and event, as `units` has its."""
    return _made("lives", LIVES, rows)


def orders(rows: int) -> Path:
    """Orders of a tenth as many customers: customer_id, region, at, revenue."""
    return _made("orders", ORDERS, rows)


def cohorts(folder: Path, rows: int) -> Path:
    """The experiment file of the benchmark on `rows` orders, written into `folder`."""
    path = folder / "bench-orders.yaml"
    path.write_text(ORDERS_EXPERIMENT.format(orders=orders(rows)), encoding="utf-8")
    return path


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
    size = f"{rows // 1_000_000}M" if rows >= 1_000_000 else f"{rows // 1000}k"
    folder = cache_folder() / "bench" / f"{name}-{size}"
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
            query = rows_sql.format(
                regions=regions, start=start, stop=min(start + CHUNK, rows), all=rows
            )
            draft = path.with_suffix(".making")
            connection.execute(f"copy ({query}) to '{draft}' (format parquet)")
            draft.rename(path)
    return folder / "*.parquet"


def experiment(folder: Path, rows: int) -> Path:
    """The experiment file of the benchmark on `rows` units, written into `folder`."""
    path = folder / "bench.yaml"
    path.write_text(textwrap.dedent(EXPERIMENT).format(units=units(rows)), encoding="utf-8")
    return path
