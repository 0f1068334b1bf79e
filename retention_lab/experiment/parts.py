"""Values as YAML reads them in; what every part of the experiment file is built from, out."""

# No `from __future__ import annotations` here, nor in spec.py and sections.py: pydantic would
# compile every annotation again from its text, a twentieth of the time of `validate`.

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

WINDOW = re.compile(r"^\s*(\d+)\s*(h|d|w)\s*$")
HOURS = {"h": 1, "d": 24, "w": 168}

Language = Literal["en", "zh"]
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


def one_or_many(value: Any) -> Any:
    """A list of one for a text or a mapping that stands alone."""
    return (value,) if isinstance(value, str | dict) else value


Window = Annotated[str, BeforeValidator(_window)]
Level = Annotated[str, BeforeValidator(_level)]


class Part(BaseModel):
    """A part of the experiment file: frozen, and closed against unknown keys."""

    # Built when first used: half of the start-up of `validate` went into building each part.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


def left_out() -> Any:
    """The default of a section that may be left out: what an empty one means.

    (Not a part made here and now: each would be built apart, before the file is read.)
    """
    return Field(default_factory=dict, validate_default=True)


class Translated(Part):
    """A text in the languages of the report; `zh` falls back to `en` by declaration."""

    en: str
    zh: str | None = None

    def get(self, language: str) -> str:
        return (self.zh if language == "zh" else None) or self.en


def _text(value: Any) -> Any:
    return {"en": value} if isinstance(value, str) else value


Text = Annotated[Translated, BeforeValidator(_text)]
