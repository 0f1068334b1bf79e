"""A Parquet glob in; seconds of tea-tasting on the same metrics, whole and by region, out (JSON).

Runs in the peer's own environment (see analysis.py); it must not import anything of the lab.
"""

import json
import sys
import time

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
    """Best of some rounds: all units at once, and one region after the other."""
    table = ibis.duckdb.connect().read_parquet(units)
    whole, looped = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        experiment().analyze(table, control="none").to_dicts()
        whole.append(time.perf_counter() - start)
        start = time.perf_counter()
        for region in REGIONS:
            inside = table.filter(table.region == region)
            experiment().analyze(inside, control="none").to_dicts()
        looped.append(time.perf_counter() - start)
    print(json.dumps({"whole_s": min(whole), "looped_s": min(looped)}))


if __name__ == "__main__":
    main(sys.argv[1])
