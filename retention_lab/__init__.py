"""The retention lab: did the arm win, when do customers come back, what did the incentive buy?

Everything public is here, and is imported when it is first used::

    import retention_lab as rl

    plan = rl.plan("experiments/hillstrom-email.yaml")
    results = rl.analyse(plan, rl.reduce(plan))
    rl.decide(plan, results)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load": ("retention_lab.experiment.load", "load"),
    "plan": ("retention_lab.experiment.plan", "make_plan"),
    "reduce": ("retention_lab.data.reduce", "reduce"),
    "size_next": ("retention_lab.ab.planner", "size_next"),
    "merge": ("retention_lab.data.moments", "merge"),
    "Moments": ("retention_lab.data.moments", "Moments"),
    "analyse": ("retention_lab.ab.analyse", "analyse"),
    "decide": ("retention_lab.ab.decide", "decide"),
    "reduce_cohorts": ("retention_lab.data.cohorts", "reduce_cohorts"),
    "analyse_cohorts": ("retention_lab.survival.analyse", "analyse_cohorts"),
    "describe": ("retention_lab.survival.findings", "describe"),
    "fit_model": ("retention_lab.survival.analyse", "fit_model"),
    "reduce_incentive": ("retention_lab.data.evidence", "reduce_incentive"),
    "analyse_incentive": ("retention_lab.incentives.analyse", "analyse_incentive"),
    "decide_incentive": ("retention_lab.incentives.decide", "decide_incentive"),
    "LifeTable": ("retention_lab.data.lifetable", "LifeTable"),
    "Cohorts": ("retention_lab.data.cohorts", "Cohorts"),
    "finish": ("retention_lab.run.finish", "finish"),
    "Results": ("retention_lab.results", "Results"),
    "Verdict": ("retention_lab.results", "Verdict"),
    "figures": ("retention_lab.figures", None),
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retention_lab' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    home = import_module(module)
    return home if attribute is None else getattr(home, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
