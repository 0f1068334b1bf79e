"""Rows of estimates in; the tidy result table, its rendering and the verdict out."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = (
    "analysis",
    "metric",
    "estimand",
    "arm",
    "baseline",
    "segment",
    "level",
    "term",
    "at",
)
NUMBER_COLUMNS = ("estimate", "std_error", "ci_low", "ci_high", "p_value", "p_adjusted")
COLUMNS = (*TEXT_COLUMNS, *NUMBER_COLUMNS, "n", "n_baseline", "method", "note")
Decision = Literal["ship", "stop", "keep_running", "invalid"]
HEADLINES = ("late", "average_effect", "threshold_effect")  # what an incentive did to a metric
ENDED = "ended_unclear"  # the reason of a test that is over and has not decided


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One estimate. Text that does not apply and numbers that do not exist are None.

    `analysis` is the kind of question (``ab``), `metric` the metric's name, `estimand` what is
    estimated (``mean_difference``, ``relative_lift``, ...), `arm` against `baseline`, in `level`
    of `segment` (both None: everyone). `note` says why a number is missing or to be doubted.
    """

    analysis: str
    metric: str | None = None
    estimand: str
    arm: str | None = None
    baseline: str | None = None
    segment: str | None = None
    level: str | None = None
    term: str | None = None
    at: str | None = None
    estimate: float | None = None
    std_error: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    n: int | None = None
    n_baseline: int | None = None
    method: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        for name in NUMBER_COLUMNS:
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{self.estimand} of {self.metric}: {name} is {value}")


@dataclasses.dataclass(frozen=True, slots=True)
class Results:
    """The tidy result table: immutable rows, shown as a table in a notebook."""

    rows: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Results:
        return cls(tuple(rows))

    def where(self, **values: Any) -> Results:
        """Rows whose columns equal `values`; a tuple or list means any of them.

        >>> Results.of([Row(analysis="ab", estimand="mean", arm="a")]).where(arm="b").rows
        ()
        """
        unknown = set(values) - set(COLUMNS)
        if unknown:
            raise KeyError(f"not a column of the result table: {', '.join(sorted(unknown))}")

        def fits(row: Row) -> bool:
            return all(
                getattr(row, k) in v if isinstance(v, tuple | list) else getattr(row, k) == v
                for k, v in values.items()
            )

        return Results(tuple(r for r in self.rows if fits(r)))

    def one(self, **values: Any) -> Row:
        """The single row that fits; raises LookupError where there is none or several."""
        found = self.where(**values).rows
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows fit {values}; exactly one was asked for")
        return found[0]

    @property
    def frame(self) -> pd.DataFrame:
        """A pandas copy with the columns of `COLUMNS`; text, float64 and nullable Int64."""
        import pandas as pd

        frame = pd.DataFrame([dataclasses.asdict(r) for r in self.rows], columns=list(COLUMNS))
        for name in (*TEXT_COLUMNS, "method", "note"):
            frame[name] = frame[name].astype("string")
        for name in NUMBER_COLUMNS:
            frame[name] = frame[name].astype("float64")
        for name in ("n", "n_baseline"):
            frame[name] = frame[name].astype("Int64")
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Results:
        import pandas as pd

        def plain(name: str, value: Any) -> Any:
            if pd.isna(value):
                return None
            return int(value) if name in ("n", "n_baseline") else value

        records = frame.to_dict("records")
        return cls.of(Row(**{str(k): plain(str(k), v) for k, v in r.items()}) for r in records)

    def save(self, folder: Path) -> None:
        """Write ``results.parquet`` and ``results.csv`` into `folder`."""
        frame = self.frame
        frame.to_parquet(folder / "results.parquet", index=False)
        frame.to_csv(folder / "results.csv", index=False)

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Read ``results.parquet`` of the run in `folder`."""
        import pandas as pd

        return cls.from_frame(pd.read_parquet(Path(folder) / "results.parquet"))

    def __len__(self) -> int:
        return len(self.rows)

    def _repr_html_(self) -> str:
        """The table in a notebook; what all rows share stands above it, what is empty nowhere."""
        values = {c: [getattr(r, c) for r in self.rows] for c in COLUMNS}
        values = {c: v for c, v in values.items() if any(x is not None for x in v)}
        shared = [c for c, v in values.items() if len(v) > 1 and len(set(v)) == 1]
        columns = [c for c in values if c not in shared]
        said = "; ".join(f"{c}: {html.escape(_shown(values[c][0]))}" for c in shared)
        head = "".join(f"<th>{c}</th>" for c in columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(_shown(getattr(r, c)))}</td>' for c in columns)}</tr>"
            for r in self.rows
        )
        caption = f"<caption style='text-align: left'>{said}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(value: Any) -> str:
    """A value in a notebook's table: five significant digits, nothing where there is nothing."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code, the numbers it rests on, and (in texts/) a sentence for every language."""

    code: str
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: the decision, the arm it is about, and the reasons, most important first."""

    decision: Decision
    arm: str | None
    reasons: tuple[Reason, ...]

    @property
    def ended(self) -> bool:
        """Whether the test is over without an answer, so that nothing is to be kept running."""
        return any(r.code == ENDED for r in self.reasons)

    def save(self, folder: Path, texts: Mapping[str, list[str]]) -> None:
        """Write ``verdict.json``; `texts` holds one sentence a reason for each language."""
        reasons = [
            {
                "code": r.code,
                "numbers": dict(r.numbers),
                "text": {language: lines[i] for language, lines in texts.items()},
            }
            for i, r in enumerate(self.reasons)
        ]
        content = {"verdict": self.decision, "arm": self.arm, "reasons": reasons}
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / "verdict.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Verdict:
        content = json.loads((Path(folder) / "verdict.json").read_text(encoding="utf-8"))
        reasons = tuple(Reason(r["code"], r["numbers"]) for r in content["reasons"])
        return cls(content["verdict"], content["arm"], reasons)
