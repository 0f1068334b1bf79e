"""Customers with a day and an event, and orders, in; our times beside SQL's and peers', out.

Every way starts from the same Parquet file in a process of its own; the ways take turns, and ratios
are of one turn. The peers (lifelines, scikit-survival, statsmodels) have an environment of their
own, made in the cache folder. Survival is by whole days 0-365; Cox's models have 14 indicators of
four columns of text, 360 patterns. CPU seconds tell more than seconds where other programs share
the machine; an engine or BLAS that uses several cores has more of them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.peers import environment

PEERS = ("lifelines==0.30.3", "scikit-survival==0.28.0", "statsmodels==0.15.0", "pyarrow")
EVERYONE = ("lifelines", "sksurv", "statsmodels")
PATIENCE = 300.0  # seconds that a peer may take
ROBUST = (100_000, 300_000, 1_000_000)
LEAST, FEW, MILLION, TEN, HUNDRED = 10**4, 10**5, 10**6, 10**7, 10**8


def side_by_side(folder: Path, turns: int, large: bool = False) -> dict[str, Any]:
    """Everything that is promised, in one run: medians over `turns` of each way, and ratios."""
    few, million, ten = data.lives(FEW), data.lives(MILLION), data.lives(TEN)
    found: dict[str, Any] = {"peers": list(PEERS)}
    found["curves_10M"] = in_turns(
        {"ours": _own("curves", ten), "sql": _own("curves_sql", ten)}, turns
    )
    found["cox_10M"] = in_turns({"ours": _own("cox", ten), "hand": _own("cox_hand", ten)}, turns)
    found["cox_1M"] = in_turns(
        {"ours": _own("cox", million), **_peers("cox", ("lifelines",), million)},
        max(2, turns // 2),
    )
    found["robust"] = {str(n): alone(_own("robust", million, n)) for n in ROBUST}
    found["robust"] = {n: said.get("took", said) for n, said in found["robust"].items()}
    found["orders_10M"] = of_orders(folder, TEN, turns)
    if large:
        found["orders_100M"] = of_orders(folder, HUNDRED, 1)
    found["peers_curves_10M"] = once(_peers("curves", ("lifelines", "statsmodels"), ten))
    found["peers_curves_1M"] = once(_peers("curves", EVERYONE, million))
    cox_few = {"ours": _own("cox", few), **_peers("cox", EVERYONE, few)}
    found["peers_cox_100k"] = once(cox_few)
    least = data.lives(LEAST)
    robust = {"ours": _own("robust", least, LEAST), **_peers("robust", ("lifelines",), least)}
    found["peers_robust_10k"] = once(robust)
    return found


def _peers(question: str, names: Sequence[str], files: Path) -> dict[str, list[str]]:
    """Programs by name; none where there is no environment for the peers."""
    python = environment("survival", PEERS)
    if python is None:
        return {}
    script = str(Path(__file__).with_name("peers_lives.py"))
    return {name: [str(python), script, name, question, str(files)] for name in names}


def of_orders(folder: Path, rows: int, turns: int) -> dict[str, Any]:
    """The reduction of `rows` orders beside hand-written SQL and the bare join."""
    file = data.cohorts(folder, rows)
    table = data.orders(rows)
    return in_turns(
        {
            "ours": _own("orders", file),
            "sql": _own("orders_sql", table),
            "join": _own("orders_join", table),
        },
        turns,
    )


def _own(way: str, file: Path, *more: Any) -> list[str]:
    return [sys.executable, "-m", "benchmarks.lives_ways", way, str(file), *map(str, more)]


def in_turns(ways: dict[str, list[str]], turns: int) -> dict[str, Any]:
    """Medians by way, and of the ratios of ours to the others turn by turn, by seconds and CPU."""
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for i in range(turns):
        for name in list(ways) if i % 2 == 0 else list(reversed(ways)):
            said[name].append(alone(ways[name]))
    same({name: turns_of[0] for name, turns_of in said.items()})
    out: dict[str, Any] = {}
    for name, turns_of in said.items():
        if any("failed" in t for t in turns_of):
            out[name] = turns_of[0]
            continue
        tooks = [t["took"] for t in turns_of]
        out[name] = {k: statistics.median(t[k] for t in tooks) for k in tooks[0]}
    for name, turns_of in said.items():
        if name == "ours" or "failed" in out[name]:
            continue
        for key in (k for k in turns_of[0]["took"] if k.endswith(("all_s", "cpu_s"))):
            mine = "all_cpu_s" if key.endswith("cpu_s") else "all_s"
            pairs = zip(said["ours"], turns_of, strict=True)
            ratios = [a["took"][mine] / b["took"][key] for a, b in pairs]
            out[f"ours_over_{name}_{key.removesuffix('_s')}"] = statistics.median(ratios)
    return out


def once(ways: Mapping[str, list[str]]) -> dict[str, Any]:
    """What each way took, once."""
    said = {name: alone(words) for name, words in ways.items()}
    same(said)
    return {name: t.get("took", t) for name, t in said.items()}


def alone(words: Sequence[str]) -> dict[str, Any]:
    """What a program in a process of its own prints; of a peer that fails or takes too long, why.

    Our own ways raise CalledProcessError.
    """
    own = words[0] == sys.executable
    patience = None if own else PATIENCE
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=patience, check=own)
    except subprocess.TimeoutExpired:
        return {"failed": f"not within {PATIENCE:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        return {"failed": last[:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def same(said: Mapping[str, Mapping[str, Any]]) -> None:
    """All ways found the same, up to where peers stop; otherwise their times say nothing."""
    found = {name: np.array(s["found"]) for name, s in said.items() if s.get("found")}
    for name, values in found.items():
        if "ours" in found and not np.allclose(values, found["ours"], rtol=1e-4, atol=1e-6):
            raise AssertionError(f"{name} found {values}, but ours {found['ours']}")


def said(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Lines of the table: what, measured, promised."""
    curves = found["curves_10M"]
    yield (
        "survival curves of 10M customers, 6 cohorts, log-rank",
        "{all_s:.2f} s ({all_cpu_s:.2f} CPU)".format(**curves["ours"]),
        "",
    )
    yield "  over the bare GROUP BY", _ratio(curves, "sql_all"), "1.5"
    cox = found["cox_10M"]
    yield (
        "Cox, Efron, 14 columns, 360 patterns, 10M customers",
        "{all_s:.2f} s ({all_cpu_s:.2f} CPU), fit {fit_s:.2f} s".format(**cox["ours"]),
        "",
    )
    yield "  over GROUP BY and five sums", _ratio(cox, "hand_cells_and_sums_all"), "1.5"
    yield "  over GROUP BY and a fit by hand", _ratio(cox, "hand_all"), ""
    million = found["cox_1M"]
    ours, peer = million["ours"], million.get("lifelines")
    yield (
        "the same, 1M customers",
        "{all_s:.2f} s ({all_cpu_s:.2f} CPU), {over_imports_mb:.0f} MB".format(**ours),
        "",
    )
    if peer is None or "failed" in peer:
        yield "  lifelines", "not measured: it needs Python 3.12 and uv", ""
    else:
        times = f"{1 / million['ours_over_lifelines_all']:.1f} times ours"
        times += f" (CPU: {1 / million['ours_over_lifelines_all_cpu']:.1f}"
        times += f"; {peer['all_s']:.1f} s)"
        yield "  lifelines", times, "15"
        alone_ = 1 / million["ours_over_lifelines_answer_cpu"]
        yield "  its fit alone, without reading the file", f"{alone_:.1f} times (CPU)", ""
        share = ours["over_imports_mb"] / peer["over_imports_mb"]
        yield "  our memory over its", f"{share:.2f} of {peer['over_imports_mb']:.0f} MB", "0.33"
    rows = found["robust"]
    each = ", ".join(f"{rows[str(n)]['all_cpu_s'] / n * 1e6:.1f}" for n in ROBUST)
    yield "robust Cox of 0.1M, 0.3M, 1M rows, a million rows", f"{each} s of CPU", "linear"
    each = ", ".join(f"{rows[str(n)]['errors_cpu_s'] / n * 1e6:.2f}" for n in ROBUST)
    yield "  of this the robust errors alone", f"{each} s of CPU", "linear"
    for name in ("10M", "100M"):
        orders = found.get(f"orders_{name}")
        if orders is None:
            continue
        said_ = "{all_s:.1f} s ({all_cpu_s:.1f} CPU), {over_imports_mb:.0f} MB"
        yield f"life table of {name} orders", said_.format(**orders["ours"]), ""
        yield "  over SQL by hand", _ratio(orders, "sql_all"), ""
        yield "  over the bare join", _ratio(orders, "join_all"), ""
    for title, key in (
        ("curves of 10M", "peers_curves_10M"),
        ("curves of 1M", "peers_curves_1M"),
        ("Cox of 0.1M", "peers_cox_100k"),
        ("robust Cox of 10,000", "peers_robust_10k"),
    ):
        for name, took in found[key].items():
            what = took.get("failed") or "{all_s:.2f} s ({all_cpu_s:.2f} CPU)".format(**took)
            yield f"  {title}: {name}", what, ""


def _ratio(found: Mapping[str, Any], other: str) -> str:
    wall, cpu = found.get(f"ours_over_{other}"), found.get(f"ours_over_{other}_cpu")
    return "not measured" if wall is None else f"{wall:.2f} times (CPU: {cpu:.2f})"
