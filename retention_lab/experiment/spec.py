"""One YAML file in; the experiment as written, checked for form, out (a frozen `Spec`)."""

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from retention_lab.experiment.parts import Language as Language
from retention_lab.experiment.parts import Level as Level
from retention_lab.experiment.parts import Name as Name
from retention_lab.experiment.parts import Part as Part
from retention_lab.experiment.parts import Text as Text
from retention_lab.experiment.parts import Translated as Translated
from retention_lab.experiment.parts import Window as Window
from retention_lab.experiment.parts import hours as hours
from retention_lab.experiment.parts import left_out, one_or_many
from retention_lab.experiment.sections import Binned as Binned
from retention_lab.experiment.sections import Cost as Cost
from retention_lab.experiment.sections import Incentive as Incentive
from retention_lab.experiment.sections import Planning as Planning
from retention_lab.experiment.sections import Promotion as Promotion
from retention_lab.experiment.sections import Survival as Survival

KINDS = ("proportion", "mean", "ratio", "quantile", "retention", "sum", "count")
CROSS = " \u00d7 "  # between the names, and the levels, of segments that are crossed
SWITCHBACK = "block of time"
EVENT_KINDS = ("retention", "sum", "count")

Sequential = Literal["confidence_sequence", "obrien_fleming", "pocock"]


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


class Events(Timed):
    """A table of events: the rows that hold, and the column of the number that rows share."""

    where: str | None = None
    id: str | None = None


class Data(Part):
    """Where the rows live: one row a unit, assignments with events, or saved reductions."""

    engine: Literal["duckdb"] | Duckdb | Spark | Ibis = "duckdb"
    units: str | None = None
    assignments: Timed | None = None
    events: dict[Name, Events] = Field(default_factory=dict)
    moments: tuple[str, ...] = ()
    lives: tuple[str, ...] = ()
    as_of: dt.date | None = None
    timezone: str = "UTC"

    @field_validator("moments", "lives", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return one_or_many(value)

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

    @property
    def homes(self) -> int:
        """How many of units, assignments and moments are given."""
        return sum([self.units is not None, self.assignments is not None, bool(self.moments)])

    @model_validator(mode="after")
    def _one_home(self) -> Self:
        if self.homes > 1 or (not self.homes and not self.events and not self.lives):
            raise ValueError("give exactly one of units, assignments or moments")
        if self.lives and (self.units is not None or self.assignments is not None or self.events):
            raise ValueError("lives stand in place of the tables: take out one or the other")
        return self


class Switchback(Part):
    """Blocks of time (of each `by`) take turns in the arms; the start of each may be left out.

    One of them begins at the wall-clock time `start`, which the file calls ``from``.
    """

    every: Window
    by: str | None = None
    burn_in: Window | None = None
    start: dt.datetime | None = Field(default=None, alias="from")

    @field_validator("start")
    @classmethod
    def _wall_clock(cls, value: dt.datetime | None) -> dt.datetime | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("write a time without a zone: it is in the zone of the file")
        return value

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


class Covariates(Part):
    """What a covariate is in every part of the units: a text's levels, or a number's fill."""

    levels: tuple[Level, ...] = ()
    fill: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.levels) == (self.fill is not None):
            raise ValueError("give exactly one of levels (of a text) or fill (of a number)")
        if len(set(self.levels)) != len(self.levels) or len(self.levels) == 1:
            raise ValueError("levels are two or more, each once")
        return self


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
                f"{self.sequential} needs planned_units, the units of all arms with "
                "which the test ends"
            )
        return self


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
    question: Text = Field(default="", validate_default=True)
    owner: str | None = None
    family: str | None = None
    notebook: Name = "ab_test"
    data: Data
    design: Design | None = None
    metrics: tuple[Metric, ...] = ()
    covariates: dict[str, Covariates] = Field(default_factory=dict)
    segments: tuple[str, ...] = ()
    crossed_segments: tuple[tuple[str, str], ...] = ()
    inference: Inference = left_out()
    survival: Survival | None = None
    incentive: Incentive | None = None
    planning: Planning = left_out()
    privacy: Privacy = left_out()
    report: Report = left_out()
    parameters: dict[Name, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.design is None and self.metrics and not self.undesigned:
            raise ValueError("metrics need a design: which column holds the arm, which is control")
        restarted = self.data.lives and self.survival is not None and not self.metrics
        needs_home = self.design is not None or self.survival is None
        if needs_home and self.data.homes == 0 and not restarted:
            raise ValueError("data: give exactly one of units, assignments or moments")
        unused = self.survival is None or self.metrics or self.data.moments
        if self.data.events and self.data.assignments is None and unused:
            raise ValueError(
                "data: events need assignments: a table of who entered which arm, and when"
            )
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
        named = {c for m in self.metrics for c in m.covariates}
        idle = sorted(set(self.covariates) - named)
        if idle:
            raise ValueError(f"covariates: no metric names {', '.join(idle)}")
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
    def undesigned(self) -> bool:
        """Whether the comparison needs no arms: of a rollout by market, or about a threshold."""
        return self.incentive is not None and self.incentive.strategy in ("rollout", "threshold")

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
