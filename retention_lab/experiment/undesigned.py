"""A file whose comparison needs no arms in; what its tables hold, and every fault, out."""

from __future__ import annotations

from importlib import import_module

from retention_lab.data.source import Source
from retention_lab.experiment.checks import Input
from retention_lab.experiment.covariates import Check
from retention_lab.experiment.incentive import Offer
from retention_lab.experiment.spec import Spec

CHECKS = {
    "rollout": "retention_lab.experiment.rollout",
    "threshold": "retention_lab.experiment.threshold",
}


def check_undesigned(
    spec: Spec, source: Source
) -> tuple[Offer, tuple[Input, ...], list[Check], dict[str, str]]:
    """Hold a rollout or a threshold against its table.

    The offer, the tables that are read, what was checked, and by metric why it cannot be computed.
    Raises PlanError with all fatal faults at once.
    """
    assert spec.incentive is not None
    found: tuple[Offer, tuple[Input, ...], list[Check], dict[str, str]] = import_module(
        CHECKS[spec.incentive.strategy]
    ).check(spec, source)
    return found
