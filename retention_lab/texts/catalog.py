"""A language, a key and values in; the sentence of that language's YAML files out."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("en", "zh")
FILES = ("", "incentive.", "remark.")  # one file a room; a key stands in one of them
ONE = {  # what follows a 1 in English
    "customers": "customer",
    "days": "day",
    "hours": "hour",
    "weeks": "week",
    "comparisons": "comparison",
    "seconds": "second",
    "dollars": "dollar",
}
MANY = re.compile(rf" ({'|'.join(ONE)})\b")


@functools.cache
def texts(language: str) -> Mapping[str, str]:
    """Every sentence of `language` by its dotted key; raises KeyError for an unknown language."""
    if language not in LANGUAGES:
        raise KeyError(f"no texts in {language!r}; there are {', '.join(LANGUAGES)}")
    found: dict[str, str] = {}
    for name in FILES:
        text = (Path(__file__).parent / f"{name}{language}.yaml").read_text(encoding="utf-8")
        found |= _flat(yaml.load(text, Loader=yaml.CSafeLoader), "")
    return found


def _flat(node: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found = []
    for key, value in node.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found


def say(language: str, key: str, **values: object) -> str:
    """The sentence `key` in `language` with `values` put in: plain text, not HTML.

    Raises KeyError for an unknown language, key or missing value.
    """
    sentence = texts(language)[key]
    return _spaced(sentence, values) if language == "zh" else _counted(sentence, values)


def _counted(sentence: str, values: Mapping[str, object]) -> str:
    """`sentence` with `values`; ``1 customers`` as ``1 customer``."""
    text, one = "", False
    for literal, name, _, _ in string.Formatter().parse(sentence):
        noun = MANY.match(literal) if one else None
        text += f" {ONE[noun[1]]}{literal[noun.end() :]}" if noun else literal
        value = str(values[name]) if name else ""
        text, one = text + value, value == "1"
    return text


def _spaced(sentence: str, values: Mapping[str, object]) -> str:
    """`sentence` with `values`; between Chinese and Latin or digits a space, else none.

    Only where sentence and value meet: what a user wrote is left as it is.
    """
    text = ""
    for literal, name, _, _ in string.Formatter().parse(sentence):
        for piece in (literal, str(values[name]) if name else ""):
            text = _meet(text, piece) if text and piece else text + piece
    return text


def _meet(a: str, b: str) -> str:
    """`a` and `b` joined with the space that their last and first characters want."""
    x, y = a.rstrip(" ")[-1:], b.lstrip(" ")[:1]
    if (_han(x) and _latin(y)) or (_latin(x) and _han(y)):
        return f"{a.rstrip(' ')} {b.lstrip(' ')}"
    if _han(x) and _han(y):
        return a.rstrip(" ") + b.lstrip(" ")
    return a + b


def _han(c: str) -> bool:
    return "\u4e00" <= c <= "\u9fff"


def _latin(c: str) -> bool:
    return c.isascii() and c.isalnum()


def placeholders(text: str) -> set[str]:
    """Names of the values that `text` waits for."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}
