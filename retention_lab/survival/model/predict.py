"""A fitted Cox model and covariates in; survival with intervals, or the model saved, out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retention_lab.errors import DataError, did_you_mean
from retention_lab.survival.intervals import critical
from retention_lab.survival.model.baseline import Baseline, baselines
from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import Coding, SurvivalData
from retention_lab.survival.model.design import encode, label

FORMAT = 1
STRATUM = "stratum"  # the key of strata that came without one
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Survival of R rows at T times, each array [R, T]; nan after the end of what was seen.

    `hazard` is the cumulative hazard; `low` and `high` are the ends of log-log intervals,
    nan before the first event.
    """

    times: Floats
    survival: Floats
    std_error: Floats
    low: Floats
    high: Floats
    hazard: Floats


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CoxModel:
    """All that predictions need, without a row of the data; plain numbers, saved as JSON.

    `coding` turns covariates into the columns `names` (a dropped column counts as 0); `strata_keys`
    are the further keys that say a row's stratum.
    """

    names: tuple[str, ...]
    coef: Floats
    variance: Floats
    centre: Floats
    coding: tuple[Coding, ...]
    strata_keys: tuple[str, ...]
    curves: tuple[Baseline, ...]

    @classmethod
    def of(cls, fit: CoxFit, data: SurvivalData, days: Sequence[float] | None = None) -> CoxModel:
        """The model of `fit`, which was fitted to `data`.

        With `days` the baseline is kept on these days only, on which predictions are the same;
        between them survival is that of the last of them before, 1 before the first, and nan
        after the last. Who has the model then cannot tell on which days events happened.
        Raises ValueError for exact ties, and DataError where the fit has no estimates.
        """
        if not len(fit.coef) or np.isnan(fit.coef).any():
            raise DataError(f"the model has no estimates to predict with ({fit.note})")
        keys = data.strata_keys or ((STRATUM,) if len(data.strata_names) > 1 else ())
        curves = baselines(fit, data)
        if days is not None:
            curves = tuple(curve.on(days) for curve in curves)
        return cls(fit.names, fit.coef, fit.variance, fit.centre, fit.coding, tuple(keys), curves)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that a frame of covariates has to have."""
        used = [c.key for c in self.coding if set(c.names) & set(self.names)]
        return tuple(dict.fromkeys([*used, *self.strata_keys]))

    def log_hazard_ratio(self, frame: Mapping[str, Any]) -> Floats:
        """The log hazard of each row relative to one with the mean covariates, [rows]."""
        return np.asarray((self._columns(frame) - self.centre) @ self.coef)

    def predict(self, frame: Mapping[str, Any], times: Any, alpha: float = 0.05) -> Prediction:
        """Survival of each row of `frame` at `times`, covariates held fixed.

        `frame` gives columns by name: a mapping to arrays of shape (rows,), or a data frame. The
        variance of the cumulative hazard H = H0 exp(x'b) is exp(2 x'b) (its own part + q' V q), q =
        x H0 less `slope`; survival is exp(-H), with error survival x that of H, and intervals
        survival ** exp(+- z error of H / H). A row with a missing covariate has nan. Linear in rows
        x times. DataError: a column is missing, or has a level that was not there at the fit.
        Source: Tsiatis (1981), Annals of Statistics 9(1), 93-108.
        """
        at = np.atleast_1d(np.asarray(times, np.float64))
        off = self._columns(frame) - self.centre
        which = self._strata(frame, len(off))
        hazard, variance = np.empty((len(off), len(at))), np.empty((len(off), len(at)))
        for s, curve in enumerate(self.curves):
            rows = np.flatnonzero(which == s)
            hazard[rows], variance[rows] = self._hazards(curve, off[rows], at)
        z = critical(alpha)
        survival = np.exp(-hazard)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.exp(z * np.sqrt(variance) / hazard)
        factor[hazard == 0.0] = np.nan
        low, high = np.exp(-hazard * factor), np.exp(-hazard / factor)
        return Prediction(at, survival, survival * np.sqrt(variance), low, high, hazard)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, as JSON can hold them."""
        return {
            "format": FORMAT,
            "names": list(self.names),
            "coef": self.coef.tolist(),
            "variance": self.variance.tolist(),
            "centre": self.centre.tolist(),
            "coding": [
                {"key": c.key, "levels": list(c.levels), "reference": c.reference}
                for c in self.coding
            ],
            "strata_keys": list(self.strata_keys),
            "curves": [
                {f.name: _plain(getattr(c, f.name)) for f in dataclasses.fields(c)}
                for c in self.curves
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CoxModel:
        """What `to_dict` gave, to the last bit. DataError: it is something else."""
        if content.get("format") != FORMAT:
            raise DataError(f"this is not a Cox model of format {FORMAT}")
        names = tuple(content["names"])
        coding = tuple(
            Coding(c["key"], tuple(c["levels"]), c["reference"]) for c in content["coding"]
        )
        curves = tuple(
            Baseline(
                stratum=c["stratum"],
                time=np.array(c["time"], np.float64),
                hazard=np.array(c["hazard"], np.float64),
                variance=np.array(c["variance"], np.float64),
                slope=np.array(c["slope"], np.float64).reshape(-1, len(names)),
                end=float(c["end"]),
            )
            for c in content["curves"]
        )
        coef, variance, centre = (
            np.array(content[f], np.float64) for f in ("coef", "variance", "centre")
        )
        return cls(names, coef, variance, centre, coding, tuple(content["strata_keys"]), curves)

    def save(self, path: str | Path) -> None:
        """Write a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict()), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> CoxModel:
        """Read what `save` wrote; DataError for any other file."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls.from_dict(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is not a saved Cox model: {error!r}") from None

    def _hazards(self, curve: Baseline, off: Floats, at: Floats) -> tuple[Floats, Floats]:
        """Cumulative hazards of rows of one stratum, and their variances, [rows, T]."""
        place = curve.before(at)
        base = np.append(0.0, curve.hazard)[place]
        own = np.append(0.0, curve.variance)[place]
        slope = np.concatenate([np.zeros((1, len(self.coef))), curve.slope])[place]
        base = np.where(at > curve.end, np.nan, base)
        ratio = np.exp(off @ self.coef)[:, None]
        half = off @ self.variance
        spread = (half * off).sum(axis=1)[:, None] * base**2 - 2.0 * (half @ slope.T) * base
        spread = spread + ((slope @ self.variance) * slope).sum(axis=1)
        return ratio * base, ratio**2 * (own + np.maximum(spread, 0.0))

    def _columns(self, frame: Mapping[str, Any]) -> Floats:
        by_name: dict[str, Floats] = {}
        for coding in self.coding:
            if set(coding.names) & set(self.names):
                columns = encode(coding, self._column(frame, coding.key))
                by_name |= dict(zip(coding.names, columns.T, strict=True))
        return np.stack([by_name[c] for c in self.names], axis=1)

    def _strata(self, frame: Mapping[str, Any], rows: int) -> npt.NDArray[np.intp]:
        if not self.strata_keys:
            return np.zeros(rows, np.intp)
        place = {c.stratum: i for i, c in enumerate(self.curves)}
        given = [np.asarray(self._column(frame, key)).tolist() for key in self.strata_keys]
        if self.strata_keys == (STRATUM,):
            labels = [f"{v:g}" if isinstance(v, int | float) else str(v) for v in given[0]]
        else:
            values = [[float(v) if isinstance(v, int) else v for v in column] for column in given]
            labels = [
                ", ".join(map(label, self.strata_keys, row)) for row in zip(*values, strict=True)
            ]
        for one in labels:
            if one not in place:
                hint = did_you_mean(one, place)
                raise DataError(f"the model has no stratum {one!r}{hint}")
        return np.array([place[one] for one in labels], np.intp)

    def _column(self, frame: Mapping[str, Any], key: str) -> Any:
        known = [str(c) for c in frame]
        if key not in known:
            raise DataError(f"there is no column {key!r}{did_you_mean(key, known)}")
        return frame[key]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
