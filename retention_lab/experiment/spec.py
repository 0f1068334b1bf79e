"""One YAML file in; the experiment as written, checked for form, out (a frozen `Spec`)."""

# No `from __future__ import annotations` here: pydantic would compile every annotation again from
# its text, a twentieth of the time of `validate`.

import datetime as dt
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

WINDOW = re.compile(r"^\s*(\d+)\s*(h|d|w)\s*$")
HOURS = {"h": 1, "d": 24, "w": 168}
KINDS = ("proportion", "mean", "ratio", "quantile", "retention", "sum", "count")
CROSS = " \u00d7 "  # between the names, and the levels, of segments that are crossed
SWITCHBACK = "block of time"
EVENT_KINDS = ("retention", "sum", "count")

Language = Literal["en", "zh"]
Sequential = Literal["confidence_sequence", "obrien_fleming", "pocock"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$", max_length=100)]


def hours(window: str) -> int:
    """Length of a window such as ``'30d'`` (``h``, ``d`` = 24 h, ``w`` = 168 h), in hours."""
    found = WINDOW.match(window)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{window!r} is not a window: write a number and h, d or w, such as 30d")
    return int(found[1]) * HOURS[found[2]]


def _window(value: Any) -> Any:
    if isinstance(value, str):
        hours(value)
        return value.strip()
    raise ValueError("a window is a number and h, d or w, such as 30d")


def _level(value: Any) -> Any:
    if isinstance(value, bool):
        word = "yes/no/on/off/true/false"
        raise ValueError(f"YAML reads {word} as a truth value; put the name in quotes")
    if isinstance(value, int | float):
        return str(value)
    return value


Window = Annotated[str, BeforeValidator(_window)]
Level = Annotated[str, BeforeValidator(_level)]


class Part(BaseModel):
    """A part of the experiment file: frozen, and closed against unknown keys."""

    # Built when first used: half of the start-up of `validate` went into building each part.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Translated(Part):
    """A text in the languages of the report; `zh` falls back to `en` by declaration."""

    en: str
    zh: str | None = None

    def get(self, language: str) -> str:
        return (self.zh if language == "zh" else None) or self.en


def _text(value: Any) -> Any:
    return {"en": value} if isinstance(value, str) else value


Text = Annotated[Translated, BeforeValidator(_text)]


class Duckdb(Part):
    duckdb: str


class Spark(Part):
    spark: str


class Ibis(Part):
    ibis: str


class Timed(Part):
    """A table with the column that holds its time."""

    table: str
    at: str


class Data(Part):
    """Where the rows live: one row a unit, assignments with events, or saved reductions."""

    engine: Literal["duckdb"] | Duckdb | Spark | Ibis = "duckdb"
    units: str | None = None
    assignments: Timed | None = None
    events: dict[Name, Timed] = Field(default_factory=dict)
    moments: tuple[str, ...] = ()
    as_of: dt.date | None = None
    timezone: str = "UTC"

    @field_validator("moments", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"{value!r} is not a time zone; use a name such as UTC or Asia/Shanghai"
            ) from None
        return value

    @model_validator(mode="after")
    def _one_home(self) -> Self:
        homes = [self.units is not None, self.assignments is not None, bool(self.moments)]
        if sum(homes) != 1:
            raise ValueError("give exactly one of units, assignments or moments")
        if self.events and self.assignments is None:
            raise ValueError("events need assignments: a table of who entered which arm, and when")
        return self


class Switchback(Part):
    """Blocks of time (of each `by`) take turns in the arms; the start of each may be left out."""

    every: Window
    by: str | None = None
    burn_in: Window | None = None

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        if self.burn_in is not None and hours(self.burn_in) >= hours(self.every):
            raise ValueError("burn_in must be shorter than every")
        return self


class Design(Part):
    """What was randomised, into which arms, in which proportions."""

    unit: str | None = None
    arm: str
    control: Level
    expected_split: dict[Level, float] | None = None
    cluster: str | None = None
    switchback: Switchback | None = None
    factors: dict[Name, dict[Level, Level]] = Field(default_factory=dict)

    @field_validator("expected_split")
    @classmethod
    def _positive(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and (len(value) < 2 or min(value.values()) <= 0):
            raise ValueError("expected_split needs two arms or more, each with a share above 0")
        return value

    @model_validator(mode="after")
    def _control_is_an_arm(self) -> Self:
        if self.expected_split is not None and self.control not in self.expected_split:
            arms = ", ".join(self.expected_split)
            raise ValueError(f"control {self.control!r} is not in expected_split ({arms})")
        if self.cluster is not None and self.switchback is not None:
            raise ValueError("give cluster or switchback, not both")
        for name, levels in self.factors.items():
            absent = sorted(set(self.expected_split or levels) ^ set(levels))
            if absent or self.control not in levels:
                arms = ", ".join(absent or [self.control])
                raise ValueError(f"factor {name!r} gives each arm its level; look at {arms}")
        return self

    @property
    def randomised(self) -> str | None:
        """What was randomised, where it is coarser than the unit: the name of a reduction's key."""
        return SWITCHBACK if self.switchback is not None else self.cluster


class Cap(Part):
    """Values above the cap count as the cap: a quantile of all units, or a number."""

    quantile: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    value: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.quantile is None) == (self.value is None):
            raise ValueError("give exactly one of quantile or value")
        return self


class Metric(Part):
    """One measure: what it counts, over which window, and its role in the decision."""

    name: Name
    kind: Literal["proportion", "mean", "ratio", "quantile", "retention", "sum", "count"]
    role: Literal["primary", "secondary", "guardrail"] = "secondary"
    direction: Literal["increase", "decrease"] = "increase"
    value: str | None = None
    event: str | None = None
    within: Window | None = None
    pre: Window | None = None
    numerator: str | None = None
    denominator: str | None = None
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    cap: Cap | None = None
    covariates: tuple[str, ...] = ()
    missing: Literal["error", "drop", "zero"] = "error"
    margin: Annotated[float, Field(ge=0)] | None = None
    relative_margin: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        keys = {
            "retention": ("event", "within"),
            "count": ("event", "within"),
            "sum": ("event", "value", "within"),
            "ratio": ("numerator", "denominator"),
            "quantile": ("quantile",),
        }
        may = {
            "mean": ("value",),
            "proportion": ("value",),
            "quantile": ("value", "event", "within"),
            "sum": ("pre",),
            "count": ("pre",),
            "retention": ("pre",),
        }
        needed = keys.get(self.kind, ())
        absent = [k for k in needed if getattr(self, k) is None]
        if absent:
            raise ValueError(f"a {self.kind} metric needs {', '.join(absent)}")
        if self.kind == "quantile" and (self.event is None) != (self.within is None):
            raise ValueError("a quantile of events needs event and within")
        every = ("value", "event", "within", "pre", "numerator", "denominator", "quantile")
        allowed = needed + may.get(self.kind, ())
        extra = [k for k in every if getattr(self, k) is not None and k not in allowed]
        if extra:
            raise ValueError(f"a {self.kind} metric does not use {', '.join(extra)}")
        if self.margin is not None and self.relative_margin is not None:
            raise ValueError("give margin or relative_margin, not both")
        if self.relative_margin is not None and self.kind == "quantile":
            raise ValueError("a quantile takes a margin in its own unit, not relative_margin")
        if self.cap is not None and self.kind in ("proportion", "retention", "ratio", "quantile"):
            raise ValueError(f"a {self.kind} metric cannot be capped; cap what it is made of")
        return self

    @property
    def column(self) -> str:
        """The column of the unit table that a mean or a proportion reads."""
        return self.value or self.name


class Inference(Part):
    alpha: Annotated[float, Field(ge=1e-6, lt=0.5)] = 0.05
    correction: Literal["holm", "none"] = "holm"
    sequential: bool | Sequential = False
    planned_units: Annotated[int, Field(ge=2)] | None = None
    comparisons: Literal["control", "pairs"] = "control"
    prior_sd: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _planned(self) -> Self:
        if self.sequential in ("obrien_fleming", "pocock") and self.planned_units is None:
            raise ValueError(
                f"sequential: {self.sequential} needs planned_units, the units of all arms with "
                "which the test ends"
            )
        return self


class Survival(Part):
    """When customers come back or leave."""

    origin: str
    event: str
    cohorts: Literal["day", "week", "month", "quarter", "year"] = "month"
    by: tuple[str, ...] = ()
    horizon: Window = "365d"
    competing: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    forecast: str | None = None


class Cost(Part):
    contact: float = 0.0
    redemption: float | Literal["dose"] = 0.0


class Incentive(Part):
    """What the incentive cost and what it bought."""

    strategy: Literal[
        "randomised", "encouragement", "observational", "rollout", "threshold", "dose"
    ]
    dose: dict[Level, float] = Field(default_factory=dict)
    redeemed: str | None = None
    revenue: str | None = None
    margin: float | None = None
    cost: Cost = Cost()
    min_roi: float = 2.0


class Planning(Part):
    """What the next test should be able to see, and for how long customers may enter it."""

    effect: Annotated[float, Field(gt=0)] = 0.05
    relative: bool = True
    power: Annotated[float, Field(gt=0.5, lt=1)] = 0.8
    traffic: Annotated[float, Field(gt=0)] | None = None
    days: Annotated[int, Field(ge=1, le=1000)] = 60
    looks: Annotated[int, Field(ge=2, le=60)] = 5


class Privacy(Part):
    min_cell: Annotated[int, Field(ge=1)] = 20


class Report(Part):
    languages: tuple[Language, ...] = ("en", "zh")
    labels: dict[Level, Text] = Field(default_factory=dict)

    @field_validator("languages")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name each language once: [en], [zh] or [en, zh]")
        return value


class Spec(Part):
    """The experiment file, version 1, as written."""

    version: Literal[1] = Field(alias="schema")
    name: Name
    title: Text
    question: Text = Translated(en="")
    owner: str | None = None
    family: str | None = None
    notebook: Name = "ab_test"
    data: Data
    design: Design | None = None
    metrics: tuple[Metric, ...] = ()
    segments: tuple[str, ...] = ()
    crossed_segments: tuple[tuple[str, str], ...] = ()
    inference: Inference = Inference()
    survival: Survival | None = None
    incentive: Incentive | None = None
    planning: Planning = Planning()
    privacy: Privacy = Privacy()
    report: Report = Report()
    parameters: dict[Name, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.design is None and self.metrics:
            raise ValueError("metrics need a design: which column holds the arm, which is control")
        names = [m.name for m in self.metrics]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two metrics are called {', '.join(twice)}")
        folded = [n.casefold() for n in names]
        alike = sorted({n for n in names if folded.count(n.casefold()) > 1})
        if alike:
            raise ValueError(f"metrics differ in capitals only: {', '.join(alike)}")
        if self.metrics and not self.primary:
            raise ValueError("every metric is a guardrail; give one the role primary")
        if len(set(self.segments)) != len(self.segments):
            raise ValueError("a segment is listed twice")
        alone = sorted({s for pair in self.crossed_segments for s in pair} - set(self.segments))
        if alone:
            raise ValueError(f"crossed_segments: {', '.join(alone)} must be in segments as well")
        taken = {self.design.arm, self.design.unit} if self.design is not None else set()
        if taken & set(self.segments):
            raise ValueError("the arm and the unit's id cannot be segments")
        return self

    @property
    def primary(self) -> tuple[str, ...]:
        """Names of the primary metrics; the first that is no guardrail where no role says so."""
        named = tuple(m.name for m in self.metrics if m.role == "primary")
        return named or tuple(m.name for m in self.metrics if m.role != "guardrail")[:1]

    def label(self, name: object, language: str = "en") -> str:
        """The reader's word for an arm, metric, segment or level; the name itself if none."""
        text = self.report.labels.get(str(name))
        if text is None and CROSS in str(name):
            return CROSS.join(self.label(part, language) for part in str(name).split(CROSS))
        return text.get(language) if text is not None else str(name)
