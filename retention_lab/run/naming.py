"""Rows of results and a file's keys in; MLflow's metrics and parameters out, within its limits.

MLflow's names may hold letters, digits, ``_ - . : /`` and spaces, up to 250 characters. A metric
is called ``metric/estimand/arm`` or ``metric/estimand/arm/segment:level`` (MLflow refuses ``=``);
parts that do not apply are left out, and ``.se``, ``.ci_low``, ``.ci_high`` and ``.p`` stand
beside the estimate. An arm that is not compared with the control is followed by what it is compared
with; main effects, interactions and covariates by their term. A name that had to be changed ends in
four hex digits of its hash, so that ``$10`` and ``€10`` stay apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from retention_lab.results import Row

BESIDE = {"std_error": "se", "ci_low": "ci_low", "ci_high": "ci_high", "p_value": "p"}
# Estimands of which one metric has several, told apart by their term. Elsewhere a term describes.
TERMS = (
    "main_effect",
    "interaction",
    "covariate_difference",
    "left_out",
    "survival_quantile",
    "log_rank",
    "gray",
    "log_hazard_ratio",
    "log_rate_ratio",
    "incidence_difference",
    "discrete_log_hazard_ratio",
    "log_subdistribution_hazard_ratio",
    "proportionality",
    "robustness_value",
    "e_value",
    "benchmark_bias",
    "full_uptake_bound",
    "incremental_profit",
    "margin_per_dollar",
    "roi",
    "average_effect",
    "group_effect",
    "pretrend_power",
    "threshold_effect",
    "bandwidth",
    "covariate_jump",
    "best_dose",
)
# Estimands with one or few days (weeks, doses), which stand in the name; of others a day is a point
# of a curve.
FEW_DAYS = (
    "rmst",
    "rmst_difference",
    "rmst_ratio",
    "survival_difference",
    "incidence_difference",
    "mean_cumulative_difference",
    "equal_means",
    "pull_forward",
    "net_effect",
    "profit_at_dose",
)
AT = {"pull_forward": "week", "net_effect": "week", "profit_at_dose": "dose"}  # else days
UNSAFE = re.compile(r"[^\w \-.]")
TAKEN = re.compile(r"^\.+$|\.(se|ci_low|ci_high|p)$|^\s|\s$|^$")
LONGEST_SUFFIX = len(".ci_high")
LONGEST_NAME = 48
LONGEST_KEY = 250
LONGEST_VALUE = 6000


def metrics(rows: Iterable[Row]) -> dict[str, float]:
    """MLflow's metrics: every number of the rows that exists, but for curves.

    Rows of a curve (a value for each day or look) stay in results.parquet only.
    """
    found: dict[str, float] = {}
    rows = list(rows)
    control = next((r.baseline for r in rows if r.baseline is not None), None)
    for row in rows:
        if row.at is not None and row.estimand not in FEW_DAYS:
            continue
        key = metric_key(row, control)
        numbers = {key: row.estimate}
        numbers.update({f"{key}.{short}": getattr(row, name) for name, short in BESIDE.items()})
        for name, value in numbers.items():
            if value is not None:
                found.setdefault(name, float(value))
    return found


def metric_key(row: Row, control: str | None = None) -> str:
    """``metric/estimand/arm/segment:level`` of one row; arms are compared with `control`."""
    term = row.term if row.estimand in TERMS else None
    baseline = f"vs {row.baseline}" if row.baseline not in (None, control) else None
    at = f"{AT.get(row.estimand, 'day')} {row.at}" if row.at is not None else None
    parts = [row.metric, row.estimand, row.arm, baseline, term, at]
    key = "/".join(safe(p) for p in parts if p is not None)
    if row.segment is not None:
        key += f"/{safe(row.segment)}"
        key += f":{safe(row.level)}" if row.level is not None else ""
    return _short(key, LONGEST_KEY - LONGEST_SUFFIX)


def _short(key: str, longest: int) -> str:
    """`key` as it is, or cut, with eight hex digits of its hash."""
    if len(key) <= longest:
        return key
    return f"{key[: longest - 9]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def safe(name: str) -> str:
    """`name` as one part of an MLflow name; changed names stay different from each other.

    >>> safe("No E-Mail"), safe("2) $100 - $200")
    ('No E-Mail', '2_ _100 - _200-e1b3')
    """
    clean = UNSAFE.sub("_", name)
    if clean == name and len(name) <= LONGEST_NAME and not TAKEN.search(name):
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:4]
    return f"{clean[: LONGEST_NAME - 5].strip(' .')}-{mark}"


def parameters(content: Mapping[str, Any]) -> dict[str, str]:
    """MLflow's parameters: the file's values by dotted key; list items go by their name.

    Empty values are left out; a value of more than 6000 characters is cut and says so.
    """
    found: dict[str, str] = {}
    for steps, value in _leaves(content, ()):
        if value is None or value == "":
            continue
        key = ".".join(safe(step) for step in steps)
        key = _short(key, LONGEST_KEY)
        text = str(value)
        if len(text) > LONGEST_VALUE:
            note = f" ... ({len(text)} characters; the whole is in spec.yaml)"
            text = text[: LONGEST_VALUE - len(note)] + note
        found[key] = text
    return found


def _leaves(value: Any, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*at, str(key)))
    elif isinstance(value, list | tuple):
        if all(not isinstance(v, Mapping | list | tuple) for v in value):
            yield at, ", ".join(str(v) for v in value)
            return
        for i, inner in enumerate(value):
            name = inner.get("name", i) if isinstance(inner, Mapping) else i
            yield from _leaves(inner, (*at, str(name)))
    else:
        yield at, value
