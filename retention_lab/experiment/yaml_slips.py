"""A text that is no YAML, and where its reader stopped, in; what to mend in which line out.

The reader's own words ("mapping values are not allowed in this context") name neither the slip nor,
often, its line. Most slips are an indent, a missing space, a bracket or a quotation mark.
"""

from __future__ import annotations

import re
from typing import Any

GLUED = re.compile(r"\s*(?:- )?([A-Za-z_][\w\-]*):(?!//)(?=[^\s:/\\])")
KEYS = re.compile(r"[\w\-]+\s*:(?:\s|$)")
WIDE = re.compile(r"\s*(?:- )?[\w\-]+\s*：")
CLOSED = re.compile(r"'[^']*'\w")
ALIKE = "lines of one part begin at the same column"
QUOTE = "put it in quotes"


def slip(error: Any, text: str) -> tuple[int | None, str]:
    """The line, from 1 (None where it is not known), and what is wrong with it."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    lines = text.splitlines()
    if mark is None or not lines:
        return None, problem
    at = min(mark.line, len(lines) - 1)
    opened = getattr(error, "context_mark", None)
    return _named(problem, lines, at, mark.column, opened) or (at + 1, problem)


def _named(
    problem: str, lines: list[str], at: int, column: int, opened: Any
) -> tuple[int, str] | None:
    """The slip by what the reader says; None where it is none of those that are known."""
    line = lines[at]
    glued = next((i for i in (at, _before(lines, at)) if GLUED.match(lines[i])), None)
    wide = next((i for i in (at, _before(lines, at)) if WIDE.match(lines[i])), None)
    if wide is not None:
        return wide + 1, "a full-width colon: write ':' and a space, not '：'"
    cut = next((i for i in (at, _before(lines, at)) if CLOSED.search(lines[i])), None)
    if cut is not None and ("expected key" in problem or "<block end>" in problem):
        return cut + 1, "an apostrophe ends the text in single quotes: use double quotes"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return at + 1, "a tab at the line's beginning: indent with spaces"
    if "cannot start any token" in problem or "undefined alias" in problem:
        sign = line[column : column + 1] or "*"
        return at + 1, f"a text that begins with {sign!r}: {QUOTE}"
    if "end of stream" in problem and opened is not None:
        return opened.line + 1, "a quotation mark that opens here is not closed"
    if "',' or" in problem and opened is not None:
        sign = "}" if "}" in problem else "]"
        return opened.line + 1, f"{sign!r} is missing, or a comma between two of what it holds"
    if glued is not None and ("mapping values" in problem or "expected ':'" in problem):
        key = GLUED.match(lines[glued])
        assert key is not None
        return glued + 1, f"no space after '{key[1]}:'"
    if "mapping values" in problem:
        return at + 1, _two_keys(lines, at, column)
    if "expected ':'" in problem:
        return at + 1, "neither 'key: value' nor a list's '- '"
    if "expected key" in problem or "'-' indicator" in problem:
        return at + 1, _out_of_line(lines, at, opened)
    return None


def _before(lines: list[str], at: int) -> int:
    """The line before `at` that says something; `at` itself where there is none."""
    said = (i for i in range(at - 1, -1, -1) if lines[i].strip() and not _remark(lines[i]))
    return next(said, at)


def _remark(line: str) -> bool:
    return line.lstrip().startswith("#")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _two_keys(lines: list[str], at: int, column: int) -> str:
    """A second colon: of a text on the same line, or of a line that is indented too far."""
    above = _before(lines, at)
    first = KEYS.search(lines[at][:column])
    if first is None and above != at and _indent(lines[at]) > _indent(lines[above]):
        return (
            f"begins at column {_indent(lines[at]) + 1}, below line {above + 1}, which has its "
            f"value already and begins at column {_indent(lines[above]) + 1}: {ALIKE}"
        )
    return f"a text with ': ' in it: {QUOTE}"


def _out_of_line(lines: list[str], at: int, opened: Any) -> str:
    """A line that begins where neither the part before it nor the one around it does."""
    here = _indent(lines[at])
    beside = _indent(lines[_before(lines, at)])
    if opened is not None and here == opened.column and not lines[at].lstrip().startswith("-"):
        return f"a key beside the items of a list, at column {here + 1}: indent it further"
    return f"begins at column {here + 1}, the line before it at column {beside + 1}: {ALIKE}"
