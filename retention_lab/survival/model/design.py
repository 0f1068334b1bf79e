"""A life table and the names of covariates in; rows of numbers for a model out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from retention_lab.data.codes import distinct, kind_of
from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError, did_you_mean
from retention_lab.survival.model.data import Coding, Missing, SurvivalData

Floats = npt.NDArray[np.float64]
MOST_LEVELS = 200  # of one text covariate


def design(
    table: LifeTable,
    covariates: Sequence[str],
    strata: Sequence[str] = (),
    event: str | None = None,
    competing: Sequence[str] = (),
    missing: Missing = "error",
    references: Mapping[str, str] | None = None,
) -> SurvivalData:
    """The rows of `table`, rolled up to the keys that are needed, with numbers for its levels.

    A numeric key is one column. A text key is a 0/1 column for each level but the reference, the
    level with most units (the first in order of several such) or the one that `references` names;
    `coding` of the result says which.
    `event` is a cause of the table (default: the first); rows with one of the causes `competing`
    are marked so, and other causes count as censoring.

    Raises KeyError for an unknown key or cause; DataError for a missing level (unless
    `missing="drop"`), and for a text covariate of more than 200 levels, with advice.
    """
    keys = list(dict.fromkeys([*covariates, *strata]))
    causes = [event if event is not None else table.causes[0], *competing]
    for cause in causes:
        if cause not in table.causes:
            raise KeyError(
                f"the life table has no cause {cause!r}{did_you_mean(cause, table.causes)}"
            )
    rolled = table.by(*keys)
    units = np.zeros(rolled.cells, np.int64)
    np.add.at(units, rolled.cell, rolled.n)
    chosen = references or {}
    coding = tuple(
        _coding(key, rolled.levels[key], units, chosen.get(key))
        for key in dict.fromkeys(covariates)
    )
    columns = [encode(c, rolled.levels[c.key]) for c in coding]
    cells = np.concatenate(columns, axis=1) if columns else np.zeros((rolled.cells, 0))
    stratum, labels = _strata(rolled, strata)
    return SurvivalData.of(
        rolled.stop,
        rolled.cause == 1 + table.causes.index(causes[0]),
        cells[rolled.cell],
        [name for c in coding for name in c.names],
        n=rolled.n,
        start=rolled.start,
        strata=None if stratum is None else stratum[rolled.cell],
        competing=(
            np.isin(rolled.cause, [1 + table.causes.index(c) for c in competing])
            if competing
            else None
        ),
        pattern=rolled.cell,
        missing=missing,
        coding=coding,
        strata_names=labels,
        strata_keys=strata,
    )


def encode(coding: Coding, levels: Any) -> Floats:
    """The columns of one covariate, [rows, columns], from its levels, [rows].

    A missing level is nan in all of them. Raises DataError for text that was not there when the
    model was fitted, and for text where a number is meant.
    """
    values = np.asarray(levels)
    if not coding.levels and coding.reference is None:
        try:
            return values.astype(np.float64)[:, None]
        except (TypeError, ValueError):
            raise DataError(
                f"covariate {coding.key!r} holds text, but is a number in the model"
            ) from None
    known = [coding.reference, *coding.levels]
    text = [None if v is None or v != v else str(v) for v in values.tolist()]
    strange = sorted({v for v in text if v is not None and v not in known})
    if strange:
        hint = did_you_mean(strange[0], [v for v in known if v is not None])
        raise DataError(
            f"covariate {coding.key!r} has the level {strange[0]!r}, which the model does not "
            f"know{hint}"
        )
    found = np.array([[float(v == level) for level in coding.levels] for v in text], np.float64)
    found = found.reshape(len(text), len(coding.levels))
    found[[v is None for v in text]] = np.nan
    return found


def _coding(
    key: str, levels: npt.NDArray[Any], units: npt.NDArray[np.int64], chosen: str | None
) -> Coding:
    if kind_of(levels) == "number":
        return Coding(key)
    count: dict[str, int] = {}
    for level, n in zip(levels.tolist(), units.tolist(), strict=True):
        if level is not None:
            count[level] = count.get(level, 0) + n
    if len(count) > MOST_LEVELS:
        raise DataError(
            f"covariate {key!r} has {len(count):,} levels, more than {MOST_LEVELS}; group the rare "
            "ones together, or make it a stratum"
        )
    if not count:
        return Coding(key)
    reference = chosen if chosen in count else max(sorted(count), key=lambda level: count[level])
    return Coding(key, tuple(c for c in sorted(count) if c != reference), reference)


def _strata(table: LifeTable, keys: Sequence[str]) -> tuple[Floats | None, list[str] | None]:
    """The stratum of each cell (nan: a level is missing), and what the strata are called."""
    if not keys:
        return None, None
    code, levels = distinct({k: table.levels[k] for k in keys}, table.cells)
    found, labels = code.astype(np.float64), []
    for i, row in enumerate(zip(*(levels[k].tolist() for k in keys), strict=True)):
        if any(v is None or v != v for v in row):
            found[code == i] = np.nan
        else:
            labels.append(", ".join(map(label, keys, row)))
    return found, labels


def label(key: str, level: Any) -> str:
    """`region=Europe`, `tier=2`."""
    return f"{key}={level:g}" if isinstance(level, float) else f"{key}={level}"
