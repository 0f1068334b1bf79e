"""The covariates that metrics name and the table in; what it holds of them, and faults, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from retention_lab.data.look import look_at_covariates
from retention_lab.data.source import Source
from retention_lab.errors import counted, did_you_mean
from retention_lab.experiment.findings import Check
from retention_lab.experiment.needs import MISSING_LEVEL, Covariate
from retention_lab.experiment.spec import Spec
from retention_lab.experiment.text_columns import why_text

MOST_LEVELS = 20
CODED = ("number", "truth", "text")  # kinds of columns that can be covariates


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """What was found of the covariates, what was checked, and what is fatal."""

    covariates: Mapping[str, Covariate]
    checks: tuple[Check, ...]
    fatal: tuple[str, ...]


def named_covariates(spec: Spec, source: Source, ref: str, known: Mapping[str, str]) -> Named:
    """Look at the columns of `ref` (`known`: name -> kind) that metrics name as covariates.

    A number with values that are not finite is left out, which is a fault; text is its levels.
    A null is a group of its own. What the file says of a covariate is taken as it is said, so that
    parts of the units are reduced alike.
    """
    kinds, fatal = _kinds(spec, ref, known)
    for name, kind in kinds.items():
        said = spec.covariates.get(name)
        if said is not None and (kind == "text") != bool(said.levels):
            fatal.append(f"covariates.{name}: a text has levels, a number has fill")
    found: dict[str, Covariate] = {}
    checks: list[Check] = []
    for name, seen in look_at_covariates(source, ref, kinds, MOST_LEVELS).items():
        said = spec.covariates.get(name)
        named, filled = (said.levels, said.fill) if said is not None else ((), None)
        levels = (*seen.levels, *([MISSING_LEVEL] if seen.missing else []))
        if seen.missing:
            text = f"{seen.missing:,} units without covariate {name!r}: a group of their own"
            numbers = {"how": "group", "n": seen.missing, "all": seen.rows, "name": name}
            checks.append(Check("covariate", True, text, numbers))
        if kinds[name] == "text":
            beyond = len(set(levels) - set(named))
            if named and beyond:
                fatal.append(
                    f"covariates.{name}: {ref} has {counted(beyond, 'level')} that levels does not "
                    f"name (a missing value is {MISSING_LEVEL!r})"
                )
            if len(levels) > MOST_LEVELS:
                text = f"covariate {name!r} of {ref} is text of more than {MOST_LEVELS} levels"
                fatal.append(text + why_text(source, ref, name))
            found[name] = Covariate(levels=named or levels)
        elif seen.not_finite:
            text = f"{seen.not_finite:,} values of covariate {name!r} are infinite or NaN"
            checks.append(Check("covariate", False, f"{text}: it is left out"))
        else:
            far = abs(seen.mean or 0.0) > (seen.spread or 0.0)
            fill = float(f"{seen.mean or 0.0:.1g}") if far else 0.0
            found[name] = Covariate(fill=fill if filled is None and seen.missing else filled)
    return Named(found, tuple(checks), tuple(fatal))


def _kinds(spec: Spec, ref: str, known: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    assert spec.design is not None
    before = {m.name for m in spec.metrics if m.pre}
    others = {m.name for m in spec.metrics} - before - set(known)
    taken = {spec.design.arm, spec.design.unit, spec.design.cluster}
    kinds: dict[str, str] = {}
    fatal: list[str] = []
    if spec.incentive is not None:
        from retention_lab.experiment.incentive import covariate_faults

        fatal += covariate_faults(spec, ref, known)
        named = [n for n in spec.incentive.columns if n not in before]
        kinds |= {n: known[n] for n in named if known.get(n) in CODED}
    for metric in spec.metrics:
        for name in metric.covariates:
            what = f"metric {metric.name!r}: covariate {name!r}"
            if name in before:
                continue
            if name in others:
                fatal.append(f"{what} is a metric without a pre-period: give it one (pre: 90d)")
            elif name not in known:
                hint = did_you_mean(name, [*known, *before])
                fatal.append(
                    f"{what} is neither a column of {ref} nor a metric with a pre-period{hint}"
                )
            elif name in taken or name == metric.column:
                fatal.append(f"{what} is the arm, the unit or the metric itself")
            elif known[name] not in CODED:
                fatal.append(f"{what} of {ref} holds {known[name]}, not numbers or levels")
            else:
                kinds[name] = known[name]
    return kinds, fatal
