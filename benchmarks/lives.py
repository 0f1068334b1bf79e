"""Customers with a day and an event, and orders, in; our times beside SQL's and peers', out.

Every way starts from the same Parquet file in a process of its own; the ways take turns, and ratios
are of one turn. The peers (lifelines, scikit-survival, statsmodels) have an environment of their
own, made in the cache folder. Survival is by whole days 0-365; Cox's models have 14 indicators of
four columns of text, 360 patterns. CPU seconds tell more than seconds where other programs share
the machine; an engine or BLAS that uses several cores has more of them.
"""

from __future__ import annotations

import dataclasses
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
STEADY = 1.3  # times the time of a row among ten times as many: caches, not another power of n
BOUND = 1000.0  # MB over imports, of the look and the reduction of 100M orders: see passes.py
ABSENT = "not measured: no environment for it (that needs Python 3.12, uv and a package index)"
LEAST, FEW, MILLION, TEN, HUNDRED = 10**4, 10**5, 10**6, 10**7, 10**8


def side_by_side(folder: Path, turns: int, large: bool = False) -> dict[str, Any]:
    """Everything that is promised, in one run: medians over `turns` of each way, and ratios."""
    few, million, ten = data.lives(FEW), data.lives(MILLION), data.lives(TEN)
    found: dict[str, Any] = {"peers": versions()}
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
    found["peers_curves_1M"] = once(
        {"ours": _own("curves", million), **_peers("curves", EVERYONE, million)}
    )
    cox_few = {"ours": _own("cox", few), **_peers("cox", EVERYONE, few)}
    found["peers_cox_100k"] = once(cox_few)
    least = data.lives(LEAST)
    robust = {"ours": _own("robust", least, LEAST), **_peers("robust", ("lifelines",), least)}
    found["peers_robust_10k"] = once(robust)
    found["promises"] = [dataclasses.asdict(p) | {"verdict": p.verdict} for p in promises(found)]
    return found


def versions() -> dict[str, str]:
    """The peers' versions as their environment has them; none where there is no environment."""
    python = environment("survival", PEERS)
    if python is None:
        return {}
    names = [p.split("==")[0] for p in PEERS]
    asked = f"import json, importlib.metadata as m; x = {{n: m.version(n) for n in {names}}}"
    asked += "; print(json.dumps(x))"
    done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
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
        failed = next((t for t in turns_of if "failed" in t), None)
        if failed is not None:
            out[name] = failed
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


@dataclasses.dataclass(frozen=True, slots=True)
class Promise:
    """A ratio (or MB) that was promised to be at most, or at least, a number; None: not measured.

    `cpu` is the same ratio of CPU seconds, where seconds are what was promised.
    """

    what: str
    measured: float | None
    promised: float
    most: bool = True
    cpu: float | None = None
    unit: str = "times"

    @property
    def verdict(self) -> str:
        """The last column of the table."""
        unit = f" {self.unit}" if self.unit != "times" else ""
        bound = f"{'at most' if self.most else 'at least'} {round(self.promised, 2):g}{unit}: "
        if self.measured is None:
            return bound + "not measured"
        held = self.measured <= self.promised if self.most else self.measured >= self.promised
        return bound + ("met" if held else "NOT met")

    @property
    def line(self) -> tuple[str, str, str]:
        """What, measured, promised."""
        if self.measured is None:
            return "  " + self.what, "not measured", self.verdict
        cpu = "" if self.cpu is None else f" (CPU: {self.cpu:.2f})"
        digits = 0 if self.unit == "MB" else 2
        return "  " + self.what, f"{self.measured:.{digits}f} {self.unit}{cpu}", self.verdict


def promises(found: Mapping[str, Any]) -> list[Promise]:
    """What was promised of survival, in the order of the table."""
    curves, cox, million = found["curves_10M"], found["cox_10M"], found["cox_1M"]
    out = [
        _at_most("curves and log-rank over the bare GROUP BY", curves, "sql_all", 1.5),
        _at_most("Cox over GROUP BY and five sums", cox, "hand_cells_and_sums_all", 1.5),
    ]
    times = [million.get(f"ours_over_lifelines_all{k}") for k in ("", "_cpu")]
    wall, cpu = (None if t is None else 1 / t for t in times)
    out.append(Promise("lifelines' Cox of 1M over ours", wall, 15.0, most=False, cpu=cpu))
    peer = million.get("lifelines", {}).get("over_imports_mb")
    share = None if peer is None else million["ours"]["over_imports_mb"] / peer
    out.append(Promise("our memory over lifelines', 1M", share, 1 / 3))
    for key, what in (("all_cpu_s", "robust Cox"), ("errors_cpu_s", "robust errors alone")):
        few, many = (found["robust"][str(n)][key] / n for n in (ROBUST[0], ROBUST[-1]))
        name = f"{what}: CPU a row of 1M over that of 0.1M"
        out.append(Promise(name, many / few, STEADY))
    orders = found.get("orders_100M", {}).get("ours", {})
    out.append(
        Promise(
            "memory of 100M orders of 10M customers",
            orders.get("over_imports_mb"),
            BOUND,
            unit="MB",
        )
    )
    return out


def _at_most(what: str, found: Mapping[str, Any], other: str, most: float) -> Promise:
    wall, cpu = found.get(f"ours_over_{other}"), found.get(f"ours_over_{other}_cpu")
    return Promise(what, wall, most, cpu=cpu)


def said(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Lines of the table: what, measured, promised and whether that was met."""
    given = promises(found)
    took = "{all_s:.2f} s ({all_cpu_s:.2f} CPU), {over_imports_mb:.0f} MB"
    curves, cox, million = found["curves_10M"], found["cox_10M"], found["cox_1M"]
    what = "survival curves of 10M customers, 6 cohorts, log-rank"
    yield what, took.format(**curves["ours"]), ""
    yield given[0].line
    what = "Cox, Efron, 14 columns, 360 patterns, 10M customers"
    yield what, took.format(**cox["ours"]), ""
    yield given[1].line
    yield "  over GROUP BY and a fit by hand", _ratio(cox, "hand_all"), ""
    yield "the same, 1M customers", took.format(**million["ours"]), ""
    yield given[2].line
    peer = million.get("lifelines")
    if peer is not None and "failed" not in peer:
        alone_ = f"{1 / million['ours_over_lifelines_answer_cpu']:.1f} times (CPU)"
        yield "  lifelines' fit alone, without reading the file", alone_, ""
    yield given[3].line
    rows = found["robust"]
    each = ", ".join(f"{rows[str(n)]['all_cpu_s'] / n * 1e6:.2f}" for n in ROBUST)
    yield "robust Cox of 0.1M, 0.3M, 1M rows, a million rows", f"{each} s of CPU", ""
    each = ", ".join(f"{rows[str(n)]['errors_cpu_s'] / n * 1e6:.2f}" for n in ROBUST)
    yield "  of this the robust errors alone", f"{each} s of CPU", ""
    yield given[4].line
    yield given[5].line
    for name in ("10M", "100M"):
        orders = found.get(f"orders_{name}")
        if orders is None:
            yield f"life table of {name} orders", "not measured: make bench-large does", ""
            continue
        yield f"life table of {name} orders", took.format(**orders["ours"]), ""
        look = "{plan_s:.2f} s ({plan_cpu_s:.2f} CPU)"
        yield "  before that, the look at the tables", look.format(**orders["ours"]), ""
        for other, what in (("sql", "SQL by hand"), ("join", "the bare join")):
            its = took.format(**orders[other])
            yield f"  over {what}: {its}", _ratio(orders, f"{other}_all"), ""
    yield given[6].line
    yield from _peers_said(found)


def _peers_said(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Lines of the peers: their times, and how many of ours those are."""
    for title, key in (
        ("curves of 10M", "peers_curves_10M"),
        ("curves of 1M", "peers_curves_1M"),
        ("Cox of 0.1M", "peers_cox_100k"),
        ("robust Cox of 10,000", "peers_robust_10k"),
    ):
        ours = found[key].get("ours") or found["curves_10M"]["ours"]
        took = "{all_s:.2f} s ({all_cpu_s:.2f} CPU)"
        yield f"{title}: ours", took.format(**ours), ""
        for name in EVERYONE:
            its = found[key].get(name)
            if its is None and found["peers"]:
                continue  # not asked: it does not answer that, or not within minutes
            if its is None:
                yield f"  {_named(found, name)}", ABSENT, ""
            elif "failed" in its:
                yield f"  {_named(found, name)}", its["failed"], ""
            else:
                times, cpu = its["all_s"] / ours["all_s"], its["all_cpu_s"] / ours["all_cpu_s"]
                text = f"{took.format(**its)}: {times:.1f} times ours (CPU: {cpu:.1f})"
                yield f"  {_named(found, name)}", text, ""


def _named(found: Mapping[str, Any], name: str) -> str:
    whole = {"sksurv": "scikit-survival"}.get(name, name)
    return f"{whole} {found['peers'].get(whole, '')}".rstrip()


def _ratio(found: Mapping[str, Any], other: str) -> str:
    wall, cpu = found.get(f"ours_over_{other}"), found.get(f"ours_over_{other}_cpu")
    return "not measured" if wall is None else f"{wall:.2f} times (CPU: {cpu:.2f})"
