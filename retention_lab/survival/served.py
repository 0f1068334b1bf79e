"""A Cox model's file in; a predictor for MLflow, and the file itself, out.

The file is JSON: the numbers of a `CoxModel`, the days to predict for, and an example of what goes
in. It holds no code, so that loading it runs none, and no day of a customer's event.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention_lab.errors import DataError
from retention_lab.survival.model.predict import CoxModel

if TYPE_CHECKING:
    import pandas as pd

KIND = "cox"


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A model that answers frames of covariates: a row a customer, a column a day."""

    model: CoxModel
    days: tuple[int, ...]

    def predict(self, frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Log hazard ratio against mean covariates, and the share without the event by each day.

        `params` may give other `days`. Columns: ``log_hazard_ratio``, ``day_30`` and so on. The
        file knows the shares on its `days` only: between two of them it is that of the earlier one,
        before the first 1, and nan beyond the last one. Raises DataError as `CoxModel.predict`
        does.
        """
        import pandas as pd

        days = tuple((params or {}).get("days") or self.days)
        given = {str(name): frame[name] for name in frame.columns}
        found = self.model.predict(given, days)
        columns = {f"day_{day:g}": found.survival[:, i] for i, day in enumerate(days)}
        ratio = self.model.log_hazard_ratio(given)
        return pd.DataFrame({"log_hazard_ratio": ratio, **columns})


def save_model(
    path: Path, model: CoxModel, days: Sequence[int], example: Sequence[Mapping[str, Any]]
) -> None:
    """Write the model's file; `example` are rows that it can answer, none of a real customer.

    Of `days` those are written that the model knows, so that it answers each with a number.
    """
    last = min(curve.end for curve in model.curves)
    content = {
        "kind": KIND,
        "loader": __name__,
        "days": [day for day in days if day <= last],
        "example": [dict(row) for row in example],
        "model": model.to_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _load_pyfunc(path: str) -> Served:
    """What `mlflow.pyfunc.load_model` calls. Raises DataError for another file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return Served(CoxModel.from_dict(content["model"]), tuple(content["days"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a saved Cox model: {error!r}") from None
