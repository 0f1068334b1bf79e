"""A Parquet glob in; seconds of tea-tasting on the same metrics, whole and by region, out (JSON).

Runs in the peer's own environment (see analysis.py); it must not import anything of the lab.
"""

import json
import sys
import time

import duckdb
import ibis
import tea_tasting as tt

ROUNDS = 3
REGIONS = ("Africa", "Europe", "Latin America", "Middle East", "North America", "South-East Asia")


def experiment():
    """The five metrics, each adjusted by one covariate (a ratio by those of its parts)."""
    return tt.Experiment(
        repurchased=tt.Mean("repurchased", covariate="pre_orders"),
        orders=tt.Mean("orders", covariate="pre_orders"),
        revenue=tt.Mean("revenue", covariate="pre_revenue"),
        margin=tt.Mean("margin", covariate="pre_revenue"),
        order_value=tt.RatioOfMeans(
            numer="revenue",
            denom="orders",
            numer_covariate="pre_revenue",
            denom_covariate="pre_orders",
        ),
        variant="arm",
    )


def main(units):
    """Best of some rounds, and the first: all units at once, and one region after the other.

    The looped way is never cold: the whole comes before it.
    """
    connection = ibis.duckdb.connect()
    connection.raw_sql("set enable_progress_bar = false")
    table = connection.read_parquet(units)

    def whole():
        experiment().analyze(table, control="none").to_dicts()

    def looped():
        for region in REGIONS:
            inside = table.filter(table.region == region)
            experiment().analyze(inside, control="none").to_dicts()

    taken = {"whole": [], "looped": []}
    for _ in range(ROUNDS):
        for way in (whole, looped):
            start, used = time.perf_counter(), time.process_time()
            way()
            taken[way.__name__].append((time.perf_counter() - start, time.process_time() - used))
    found = {"engine": float(".".join(duckdb.__version__.split(".")[:2]))}
    for name, rounds in taken.items():
        found[f"{name}_s"], found[f"{name}_cpu_s"] = min(rounds)
    print(json.dumps(found | {"whole_first_s": taken["whole"][0][0]}))


if __name__ == "__main__":
    main(sys.argv[1])
