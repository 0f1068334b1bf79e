"""The sections `survival`, `incentive` and `planning` of the file in; their frozen parts out."""

import datetime as dt
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from retention_lab.errors import did_you_mean
from retention_lab.experiment.parts import Level, Part, Window, hours, left_out, one_or_many

EXPOSURE = "exposure"
COHORT, PROMOTION, CUSTOMERS = "cohort", "promotion", "customers"  # keys that the lab makes
REST, NEW, EXISTING = "rest", "new", "existing"
EVENT, ORIGIN = "event", "origin"  # kinds of happenings
BRACKETS = (1, 31, 61, 91, 121, 151, 181, 211, 241, 271, 301, 331, 361)  # days of age


class Promotion(Part):
    """Customers whose origin lies from the day `from` to the day `to` form the group `name`."""

    name: Level
    start: dt.date = Field(alias="from")
    to: dt.date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.to < self.start:
            raise ValueError(f"promotion {self.name!r} ends on {self.to}, before {self.start}")
        if self.name == REST:
            raise ValueError(f"{REST!r} is everyone else; call the promotion otherwise")
        return self


class Binned(Part):
    """A numeric covariate as intervals: each from an edge, included, to the next one."""

    column: str
    bins: Annotated[tuple[float, ...], Field(min_length=1, max_length=50)]

    @field_validator("bins")
    @classmethod
    def _rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(value)):
            raise ValueError("the edges of bins rise: [0, 30, 60]")
        return value


class Survival(Part):
    """When customers come back or leave: where time begins, what ends it, and how it is split."""

    unit: str | None = None
    origin: str
    event: str
    event_is: Literal["return", "loss"] = "return"
    cohorts: Literal["day", "week", "month", "quarter", "year"] = "month"
    by: tuple[str, ...] = ()
    horizon: Window = "365d"
    competing: tuple[str, ...] = ()
    covariates: tuple[str | Binned, ...] = ()
    forecast: str | None = None
    value: str | None = None
    start: dt.date | None = Field(default=None, alias="from")
    same_day: Literal["origin", "event"] | None = None
    promotion: tuple[Promotion, ...] = ()
    existing: bool | dt.date = False
    tau: Window | None = None
    brackets: Annotated[tuple[int, ...], Field(min_length=2)] = BRACKETS
    rolling: Annotated[int, Field(ge=1)] = 30

    @field_validator("promotion", "covariates", "by", "competing", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return one_or_many(value)

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if not self.event.startswith("next ") or not self.waits_for:
            raise ValueError(f"event is {self.event!r}; write next and a name of data.events")
        if self.origin.startswith("first ") and not self.first:
            raise ValueError("origin: write first and a name of data.events")
        if hours(self.horizon) % 24:
            raise ValueError(f"horizon: {self.horizon!r} is not a number of whole days")
        if self.tau is not None and not 0 < hours(self.tau) <= hours(self.horizon):
            raise ValueError(f"tau: {self.tau!r} is not within the horizon, {self.horizon}")
        if self.brackets[0] < 0 or any(a >= b for a, b in pairwise(self.brackets)):
            raise ValueError("brackets: edges are ascending days of age: [1, 8, 31]")
        word, _, rest = self.origin.partition(" ")
        if rest and self.first is None and did_you_mean(word, ["first"]):
            raise ValueError(f"origin is {self.origin!r}; did you mean 'first {rest}'?")
        if self.same_day is None and self.first is None and self.origin != EXPOSURE:
            raise ValueError(
                f"origin {self.origin!r} is a column: say in same_day whether events on its day "
                "are the origin itself (origin) or what is waited for (event)"
            )
        if self.first == self.waits_for and self.existing is True:
            raise ValueError(
                "existing: everyone's first event is the origin; give the day before which a first "
                "event means that the customer may have been there before"
            )
        if self.waits_for in self.competing:
            raise ValueError(f"competing: {self.waits_for!r} is the event itself")
        taken = {EVENT, ORIGIN} & set(self.competing)
        if taken:
            raise ValueError(f"competing: {', '.join(sorted(taken))} is a word of the lab's own")
        if self.among_new and EXISTING in {p.name for p in self.promotion}:
            raise ValueError(
                f"promotion: {EXISTING!r} are those who were there before; call it otherwise"
            )
        before = self.existing if isinstance(self.existing, dt.date) else dt.date.min
        for p in self.promotion:
            if p.to < before:
                raise ValueError(
                    f"promotion {p.name!r} ends on {p.to}: whoever came before {before} is "
                    "existing, so it won nobody new"
                )
        own = {COHORT, PROMOTION, CUSTOMERS} & {*self.by, *self.columns}
        if own:
            raise ValueError(
                f"by, covariates: {', '.join(sorted(own))} is a split that the lab makes itself"
            )
        for key, names in (
            ("by", self.by),
            ("competing", self.competing),
            ("covariates", self.columns),
            ("promotion", tuple(p.name for p in self.promotion)),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{key}: a name is listed twice")
        return self

    @property
    def first(self) -> str | None:
        """The events whose first one is the origin, if the origin is one."""
        return self.origin[6:].strip() if self.origin.startswith("first ") else None

    @property
    def waits_for(self) -> str:
        """The events that are waited for."""
        return self.event[5:].strip()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Causes, in the order in which those of one day come first."""
        return (EVENT, *self.competing)

    @property
    def days(self) -> int:
        """The horizon in days."""
        return hours(self.horizon) // 24

    @property
    def own_day(self) -> str:
        """`same_day`, where it is not said: the same events again are the origin itself."""
        return self.same_day or (ORIGIN if self.first == self.waits_for else EVENT)

    @property
    def among_new(self) -> bool:
        """Whether a promotion's rest is new customers only: where the file tells existing ones."""
        return bool(self.promotion) and bool(self.existing)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the covariates."""
        return tuple(c if isinstance(c, str) else c.column for c in self.covariates)

    @property
    def bins(self) -> dict[str, tuple[float, ...]]:
        """Edges, by column of the covariates that have them."""
        return {c.column: c.bins for c in self.covariates if isinstance(c, Binned)}


class Cost(Part):
    """What one contact and one redemption cost; `dose` is the arm's own value of the incentive."""

    contact: Annotated[float, Field(ge=0)] = 0.0
    redemption: Annotated[float, Field(ge=0)] | Literal["dose"] = 0.0


class Known(Part):
    """A covariate and the column of the time at which it was known."""

    column: str
    at: str


RANDOMISED = ("randomised", "encouragement", "dose")
_OWN = {  # keys that only some strategies use
    "dose": (*RANDOMISED, "observational"),
    "redeemed": (*RANDOMISED, "observational"),
    "learner": ("observational",),
    "folds": ("observational",),
    "trim": ("observational",),
    "propensity": ("observational",),
    "placebo": ("observational",),
    "covariates": ("observational", "rollout", "threshold"),
    "market": ("rollout",),
    "adopted": ("rollout",),
    "period": ("rollout",),
    "weight": ("rollout",),
    "controls": ("rollout",),
    "running": ("threshold",),
    "cutoff": ("threshold",),
    "above": ("threshold",),
    "placebo_cutoffs": ("threshold",),
    "pull_forward": ("randomised", "encouragement", "dose"),
}
_NEEDED = {
    "encouragement": ("redeemed",),
    "observational": ("covariates",),
    "rollout": ("market", "adopted", "period"),
    "threshold": ("running", "cutoff"),
    "dose": ("dose",),
}


class PullForward(Part):
    """The weekly course of an event after the exposure: its count, or the sum of `value`."""

    event: str
    value: str | None = None
    weeks: Annotated[int, Field(ge=4, le=52)] = 12


class Incentive(Part):
    """What the incentive bought and what it cost; `strategy` says where the comparison comes from.

    `randomised`: arms were dealt by chance. `encouragement`: the offer was, redeeming was a choice.
    `observational`: nobody randomised; customers with the same covariates are compared.
    `rollout`: markets began one after another. `threshold`: who lies just above a limit got it.
    `dose`: arms were dealt by chance and differ in the incentive's value.
    """

    strategy: Literal[
        "randomised", "encouragement", "observational", "rollout", "threshold", "dose"
    ]
    dose: dict[Level, float] = Field(default_factory=dict)
    redeemed: str | None = None
    revenue: str | None = None
    returns: str | None = None
    margin: Annotated[float, Field(le=1)] | None = None
    cost: Cost = left_out()
    min_roi: float = 2.0
    outcomes: tuple[str, ...] = ()
    covariates: tuple[str | Known, ...] = ()
    learner: Literal["linear", "boosting"] = "linear"
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    trim: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    propensity: str | None = None
    placebo: str | None = None
    seed: int = 1
    market: str | None = None
    adopted: str | None = None
    period: str | None = None
    weight: str | None = None
    controls: Literal["not_yet", "never"] = "not_yet"
    running: str | None = None
    cutoff: float | None = None
    above: bool = True
    placebo_cutoffs: tuple[float, ...] = ()
    pull_forward: PullForward | None = None

    @field_validator("outcomes", "covariates", "placebo_cutoffs", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return one_or_many(value)

    @model_validator(mode="after")
    def _fits_its_strategy(self) -> Self:
        absent = [k for k in _NEEDED.get(self.strategy, ()) if getattr(self, k) in (None, (), {})]
        if absent:
            raise ValueError(f"{self.strategy} needs {', '.join(absent)}")
        extra = [
            k for k, of in _OWN.items() if k in self.model_fields_set and self.strategy not in of
        ]
        if extra:
            raise ValueError(f"{self.strategy} does not use {', '.join(extra)}")
        if self.cost.redemption and self.redeemed is None:
            raise ValueError("cost.redemption needs redeemed: which column or events say who did")
        if self.cost.redemption == "dose" and not self.dose:
            raise ValueError("cost.redemption is dose: give dose, the incentive's value by arm")
        if self.margin is not None and self.revenue is None:
            raise ValueError("margin needs revenue: the metric that it is a share of")
        if self.returns is not None and self.margin is None:
            raise ValueError("returns are taken off the margin: give margin, and revenue")
        if self.strategy == "dose" and len(set(self.dose.values())) < 2:
            raise ValueError("dose: give two values or more")
        return self

    @property
    def keeps_a_ledger(self) -> bool:
        """Whether there is enough to say what the incentive brought and cost."""
        return self.margin is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the covariates."""
        return tuple(c if isinstance(c, str) else c.column for c in self.covariates)

    def redemption(self, arm: str) -> float:
        """What one redemption in `arm` costs."""
        cost = self.cost.redemption
        return self.dose.get(arm, 0.0) if cost == "dose" else float(cost)


class Planning(Part):
    """What the next test should be able to see, and for how long customers may enter it."""

    effect: Annotated[float, Field(gt=0)] = 0.05
    relative: bool = True
    power: Annotated[float, Field(gt=0.5, lt=1)] = 0.8
    traffic: Annotated[float, Field(gt=0)] | None = None
    days: Annotated[int, Field(ge=1, le=1000)] = 60
    looks: Annotated[int, Field(ge=2, le=60)] = 5
