"""A CSV file, or several, in; SQL that reads it as its writer meant it out.

The engine finds dialect and types. What programs write beside is read here: NA of R, `null`, `.`
of SAS, for a value that is missing among numbers, truths or dates; decimal commas between
semicolons. Each column by itself, and only where all of its other values agree: NA stays text
among names.
"""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from retention_lab.data.missing import WORDS
from retention_lab.data.sql import literal, quoted
from retention_lab.errors import DataError

EXACT = 2.0**53  # from which whole numbers are no longer all told apart as floating point
FIRST = 500  # rows, which say of most columns of text that they are text
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
COMMA = re.compile(r"[-+]?\d+(,\d+)?")
TRUTH = re.compile(r"true|false|yes|no", re.IGNORECASE)
DATE = re.compile(r"\d{4}-\d\d-\d\d")
TIME = re.compile(DATE.pattern + r"[ T]\d\d:\d\d(:\d\d(\.\d+)?)?")
ZONED = re.compile(TIME.pattern + r"(Z|[+-]\d\d(:?\d\d)?)")
# Of digits that are a name, such as 07001 or an id of 20 digits; a number would lose some.
NAME = r"^[-+]?(0\d|\d{19})"
KINDS = [
    (COMMA, "comma"),
    (NUMBER, "double"),
    (TRUTH, "boolean"),
    (DATE, "date"),
    (TIME, "timestamp"),
    (ZONED, "timestamptz"),
]
Run = Callable[[str], Sequence[tuple[Any, ...]]]


def reader(run: Run, names: Sequence[str]) -> str:
    """SQL that reads the CSV files `names` (text constants in SQL) as one table.

    The dialect and types of a single file are found once, as each query would find them anew; and
    from all its rows: from a sample, 0.4 after many whole numbers is read as 0.
    """
    delimiter, sql, types, day_first = _read(run, names)
    texts = [*_longs(run, sql, types), *(_either(run, sql, types) if day_first else ())]
    if texts:
        said = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in texts)
        delimiter, sql, types, _ = _read(run, names, f", types = {{{said}}}")
    if len(types) == 1 and re.search(r"[,;\t|]", next(iter(types))):
        raise DataError(
            f"{names[0][1:-1].rpartition('/')[2]} reads as one column: some of its rows have more "
            "or fewer fields than its header; count the separators, and put quotes around values "
            "that hold one"
        )
    return typed(run, sql, types, delimiter)


def _read(run: Run, names: Sequence[str], more: str = "") -> tuple[str, str, dict[str, str], bool]:
    """The delimiter, SQL that reads the files, its columns' types, whether days precede months."""
    many = len(names) > 1
    size = "" if many else ", sample_size = -1"
    asked = "select delimiter, prompt, columns, dateformat, timestampformat "
    ((delimiter, prompt, columns, *formats),) = run(
        f"{asked} from sniff_csv({names[0]}{size}{more})"
    )
    types = {c["name"]: c["type"] for c in columns}
    sql = prompt.strip().removeprefix("FROM ").rstrip(";")
    if many or "'" in "".join((names[0][1:-1], *types)):  # which the engine's own SQL forgets
        by_name = ", union_by_name = true" if many else ""
        sql = f"read_csv([{', '.join(names)}]{by_name}, sample_size = -1{more})"
        types = {row[0]: row[1] for row in run(f"describe from {sql}")}
    # (The engine takes the month to come first only where the day cannot.)
    day_first = any(f is not None and f.startswith(("%d/", "%d-")) for f in formats)
    return delimiter, sql, types, day_first


def _longs(run: Run, sql: str, types: dict[str, str]) -> list[str]:
    """Columns of ids with so many digits that, as numbers, different ones would be the same."""
    able = [name for name, dtype in types.items() if dtype == "DOUBLE"]
    if not able:
        return []
    asked = ", ".join(f"bool_and(abs({quoted(n)}) >= {EXACT!r})" for n in able)
    (found,) = run(f"select {asked} from (from {sql} limit {FIRST})")
    return [name for name, long in zip(able, found, strict=True) if long]


def _either(run: Run, sql: str, types: dict[str, str]) -> list[str]:
    """Columns of dates such as 01/02/2025 that may be January or February in every row."""
    able = [n for n, dtype in types.items() if dtype == "DATE" or dtype.startswith("TIMESTAMP")]
    if not able:
        return []
    (found,) = run(f"select {', '.join(f'max(day({quoted(n)}))' for n in able)} from {sql}")
    return able if max((day for day in found if day), default=0) <= 12 else []


def typed(run: Run, sql: str, types: dict[str, str], delimiter: str) -> str:
    """`sql` (of rows whose columns have `types`), with types for what it reads as text.

    `run` carries out a query. Rows after the first are read again only where a column's first
    values could all be numbers, truths, dates or times.
    """
    texts = [name for name, dtype in types.items() if dtype == "VARCHAR"]
    if not texts:
        return sql
    some = run(f"select {', '.join(map(quoted, texts))} from {sql} limit {FIRST}")
    columns = zip(*some, strict=True) if some else [()] * len(texts)
    guesses = [
        (name, kind)
        for name, values in zip(texts, columns, strict=True)
        for kind in _guesses([v for v in values if v is not None], comma=delimiter == ";")
    ]
    if not guesses:
        return sql
    asked = []
    for name, kind in guesses:
        value, cast = _cast(name, kind)
        held = f"{value} is not null"
        asked += [
            f"count(*) filter ({held})",
            f"count(*) filter ({held} and (try_{cast} is null or {_others(value, kind)}))",
            f"count(*) filter (regexp_matches({value}, '[.,eE]'))",
        ]
    (counts,) = run(f"select {', '.join(asked)} from {sql}")
    replaced: dict[str, str] = {}
    for i, (name, kind) in enumerate(guesses):
        held, others, parts = counts[3 * i : 3 * i + 3]
        if held and not others and name not in replaced:
            whole = kind in ("double", "comma") and not parts
            cast = _cast(name, "bigint" if whole else kind)[1]
            replaced[name] = f"{cast} as {quoted(name)}"
    if not replaced:
        return sql
    return f"(select * replace ({', '.join(replaced.values())}) from {sql})"


def _guesses(values: Sequence[str], *, comma: bool) -> list[str]:
    """What `values` could be, but for those that say that one is missing; the likeliest first.

    Where all of them are missing, as with a date that most rows lack, that is anything.
    """
    there = [v for v in (v.strip() for v in values) if v.lower() not in WORDS]
    able = [kind for pattern, kind in KINDS if all(pattern.fullmatch(v) for v in there)]
    able = [kind for kind in able if comma or kind != "comma"]
    return able[:1] if there else able


def _others(value: str, kind: str) -> str:
    """SQL for whether `value` is not written as `kind` is. (A time can be cast to a date, too.)"""
    pattern = next(p.pattern for p, k in KINDS if k == kind)
    other = f"not regexp_full_match({value}, {literal(pattern)}, 'i')"
    number = kind in ("double", "comma")
    return f"{other} or regexp_matches({value}, {literal(NAME)})" if number else other


def _cast(name: str, kind: str) -> tuple[str, str]:
    """SQL for the text of column `name`, null where that says so, and for its cast to `kind`."""
    text = f"trim({quoted(name)})"
    missing = ", ".join(literal(n) for n in WORDS)
    value = f"(case when lower({text}) not in ({missing}) then {text} end)"
    if kind == "comma":  # beside which a point is one of thousands: 1.234,5
        return value, f"cast(replace(replace({value}, '.', ' '), ',', '.') as double)"
    return value, f"cast({value} as {kind})"


def coded(paths: Sequence[Path]) -> None:
    """DataError with what to do, where a file is not written in UTF-8 or ASCII."""
    for path in paths:
        decoder = codecs.getincrementaldecoder("utf-8")()
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            try:
                while block := file.read(2**20):
                    decoder.decode(block)
            except UnicodeDecodeError:
                raise DataError(
                    f"{path.name} is not written in UTF-8: save it again as UTF-8 (in Excel: 'CSV "
                    "UTF-8'), or convert it, by the encoding that it has: iconv -f WINDOWS-1252 "
                    "-t UTF-8 OLD.csv > NEW.csv (of Chinese files mostly -f GB18030)"
                ) from None
