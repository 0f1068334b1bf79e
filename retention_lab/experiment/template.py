"""A name, and perhaps a table of units, in; the text of a first experiment file out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retention_lab.errors import PlanError, SpecError, did_you_mean
from retention_lab.experiment.spec import Data

if TYPE_CHECKING:
    from retention_lab.data.source import Source

NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_\-]*$")
MOST_LEVELS = 20
NEARLY = 0.95  # of the rows have a value of their own
MANY = 500  # rows, in which numbers that were measured would not all differ

TWIN = """\
# Run it:      retention-lab run {name}
# Check it:    retention-lab validate {name}
# Every key:   docs/experiment-file.md
schema: 1
name: {name}   # must be the file's name
title: {{en: "A first experiment", zh: "第一个实验"}}
question: {{en: "Does a coupon bring customers back?", zh: "优惠券能让顾客回来吗?"}}
owner: growth

# The simulated shop: made on this machine at the first run, the same for everyone. Your own
# tables: paths or globs of Parquet or CSV files, relative to this file or to the project.
data:
  assignments: {{table: "dataset:twin/assignments", at: assigned_at}}   # who, which arm, when
  events:                                                             # who did what, when
    orders: {{table: "dataset:twin/orders", at: ordered_at}}
    unsubscribes: {{table: "dataset:twin/unsubscribes", at: at}}
  as_of: 2026-01-15   # last complete day; windows that end later are left out, not counted as 0
  timezone: UTC

design:
  unit: customer_id
  arm: arm
  control: none
  # expected_split: {{none: 1, c10: 1, c20: 1}}   # how the arms were drawn; equal if not said

metrics:
  # The primary metric decides. Say it, its window and its direction before you look.
  - {{name: repurchase_30d, kind: retention, event: orders, within: 30d, role: primary}}
  - {{name: revenue_30d, kind: sum, event: orders, value: revenue, within: 30d}}
  - {{name: orders_30d, kind: count, event: orders, within: 30d}}
  - {{name: order_value, kind: ratio, numerator: revenue_30d, denominator: orders_30d}}
  # A guardrail may not get worse by more than its margin (half a percentage point).
  - name: unsubscribed_30d
    kind: retention
    event: unsubscribes
    within: 30d
    role: guardrail
    direction: decrease
    margin: 0.005

# Groups known before the arm was given; results are shown for each.
segments: [region]

inference: {{alpha: 0.05, correction: holm}}
privacy: {{min_cell: 20}}   # groups with fewer in an arm are not shown
report: {{languages: [en, zh]}}
"""


@dataclass(frozen=True)
class Column:
    """What one look at a column of the units table shows."""

    name: str
    kind: str  # number | whole | yes_no | text | other
    missing: int
    levels: int
    rows: int

    @property
    def unique(self) -> bool:
        return self.levels == self.rows

    @property
    def nearly(self) -> bool:
        """Whether nearly every row has a value of its own, as of an id with a few rows twice."""
        return (
            self.kind in ("whole", "text")
            and self.levels > 0
            and self.levels >= NEARLY * (self.rows - self.missing)
        )


def template(name: str) -> str:
    """A commented experiment file on the simulated shop; it validates and runs as it is."""
    check_name(name)
    return TWIN.format(name=name)


def template_for(
    name: str, units: str, arm: str, control: str, root: Path, besides: Sequence[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """A commented experiment file on the table `units`, one row a unit; what to look at first.

    The table is looked at once: the first number that is not an id becomes the primary metric,
    the other columns are listed as comments to choose from, but for those `besides`.

    Raises DataError where there is no such table, PlanError for an absent arm column or control.
    """
    from retention_lab.data.source import Source

    check_name(name)
    source = Source(Data(units=units), root / "experiments", root)
    columns, arms = look_at(source, units, arm)
    if not arms:
        raise PlanError(f"{units} has no row with a value in {arm!r}")
    if control not in arms:
        held = ", ".join(arms[:MOST_LEVELS])
        hint = did_you_mean(control, arms)
        raise PlanError(f"column {arm!r} of {units} holds no {control!r}{hint} (it holds: {held})")
    unit = _unit(columns)
    able = [c for c in columns if c.kind in ("number", "whole", "yes_no") and not is_id(c)]
    able = [c for c in able if c.levels and c.name not in besides]
    ids = [c for c in able if c.nearly and c is not unit]
    numbers = [c for c in able if not c.nearly]
    if not numbers:
        raise PlanError(_no_numbers(source, units, columns))
    groups = [c for c in columns if c.kind == "text" and 2 <= c.levels <= MOST_LEVELS]
    groups = [c for c in groups if not c.unique]
    names = _names([*numbers, *ids])
    lines = [
        f"# Run it:      retention-lab run {name}",
        f"# Check it:    retention-lab validate {name}",
        "# Every key:   docs/experiment-file.md",
        "schema: 1",
        f"name: {name}   # must be the file's name",
        f"title: {yaml_word(name.replace('-', ' ').replace('_', ' ').capitalize())}",
        'question: "What should be better in which arm, by how much, and why?"',
        "",
        "data:",
        f"  units: {yaml_word(units)}   # one row a unit",
        "",
        "design:",
        f"  unit: {yaml_word(unit.name)}" if unit else "  # unit: COLUMN   # who is randomised",
        f"  arm: {yaml_word(arm)}",
        f"  control: {yaml_word(control)}",
        f"  # expected_split: {{{', '.join(f'{yaml_word(a)}: 1' for a in arms[:MOST_LEVELS])}}}"
        "   # how arms were drawn; equal if not said",
        "",
        "metrics:",
        "  # The primary metric decides. This one is only the table's first number: choose yours,",
        "  # and only columns that were measured after the arm was given.",
        f"  - {_metric(numbers[0], names, 'primary')}",
        *(f"  # - {_metric(c, names)}" for c in (*numbers[1:], *ids)),
        "",
        "# Groups known before the arm was given; results are shown for each.",
        f"segments: []   # e.g. [{', '.join(yaml_word(c.name) for c in groups)}]",
        "",
        "inference: {alpha: 0.05, correction: holm}",
        "privacy: {min_cell: 20}   # groups with fewer in an arm are not shown",
        *_report(names, numbers[0].name),
        "",
    ]
    texts = [c for c in columns if c.kind == "text" and c is not unit and c.levels > 2]
    return "\n".join(lines), (*_doubts(units, unit, ids), *_numbers_as_text(source, units, texts))


def _unit(columns: list[Column]) -> Column | None:
    """The column that names the unit: unique, or, of an id by its name, nearly so."""
    able = [c for c in columns if c.nearly]
    whole = [c for c in able if c.unique and c.missing == 0]
    ways = ([c for c in whole if is_id(c)], whole, [c for c in able if is_id(c)])
    return next((found[0] for found in ways if found), None)


def _doubts(units: str, unit: Column | None, ids: list[Column]) -> tuple[str, ...]:
    said = []
    if unit is None:
        said.append(
            f"no column of {units} names its units, one a row: write design.unit, "
            "or units in two rows are not found"
        )
    elif not unit.unique:
        said.append(
            f"{unit.name!r} is taken for the unit's id, but {units} holds {unit.rows:,} rows and "
            f"{unit.levels:,} of them: keep one row a unit"
        )
    said += [
        f"{c.name!r} has its own value in nearly every row, as an id has: no metric is made of it"
        for c in ids
    ]
    return tuple(said)


def _numbers_as_text(source: Source, units: str, texts: list[Column]) -> list[str]:
    from retention_lab.experiment.text_columns import why_text

    hints = {c.name: why_text(source, units, c.name) for c in texts}
    return [f"{name!r} is text, and no metric is made of it{h}" for name, h in hints.items() if h]


def _no_numbers(source: Source, units: str, columns: list[Column]) -> str:
    from retention_lab.experiment.text_columns import why_text

    hints = [
        f"{c.name!r} holds text{hint}"
        for c in columns
        if c.kind == "text" and (hint := why_text(source, units, c.name))
    ]
    said = f"{units} has no column of numbers or yes/no to make a metric of"
    return "\n".join([said, *hints])


def write_new(text: str, name: str, root: Path) -> Path:
    """Write `text` to ``experiments/NAME.yaml`` under `root`; refuses to overwrite."""
    path = root / "experiments" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SpecError(f"{path} is there already; choose another name, or edit it") from None
    return path


def check_name(name: str) -> None:
    if not NAME.match(name):
        raise SpecError(f"{name!r} cannot be a name: a letter, then letters, digits, '-' or '_'")


def look_at(source: Source, units: str, arm: str) -> tuple[list[Column], list[str]]:
    """Every column but the arm's, and the arms, as text, sorted."""
    from retention_lab.data.footers import LONG
    from retention_lab.experiment.doubts import by_number

    known = source.columns(units)
    relation = source.table(units, {c: c for c in known}).to_native()
    names = relation.columns
    if arm not in names:
        hint = did_you_mean(arm, names) or f"; it has {', '.join(names)}"
        raise PlanError(f"column {arm!r} is not in {units}{hint}")
    arms = [
        str(row[0])
        for row in relation.project(f"{_sql(arm)}::varchar").distinct().fetchall()
        if row[0] is not None
    ]
    shown = [(n, str(t)) for n, t in zip(names, relation.types, strict=True) if n != arm]
    asked = ", ".join(
        f"count({_sql(n)}), count(distinct {_sql(n)}), "
        f"{f'count(*) filter ({_sql(n)} not in (0, 1))' if _number(t) else '1'}, "
        f"{f'count(*) filter ({_sql(n)} <> floor({_sql(n)}))' if _number(t) else '1'}"
        for n, t in shown
    )
    rows, *counts = relation.aggregate(f"count(*), {asked}").fetchall()[0]
    columns = []
    for (name, dtype), i in zip(shown, range(0, len(counts), 4), strict=True):
        there, levels, others, parts = counts[i : i + 4]
        kind = "other"
        if known[name] == LONG:
            pass
        elif dtype == "BOOLEAN" or (_number(dtype) and others == 0 and levels == 2):
            kind = "yes_no"
        elif _number(dtype):
            # (pandas writes whole numbers as 7.0 where one of them is missing.)
            id_like = parts == 0 and levels == rows >= MANY
            kind = "whole" if dtype.endswith(("INT", "INTEGER")) or id_like else "number"
        elif dtype.startswith(("VARCHAR", "ENUM", "UUID")):
            kind = "text"
        columns.append(Column(name, kind, rows - there, levels, rows))
    return columns, sorted(arms, key=by_number)


def _number(dtype: str) -> bool:
    return (
        dtype.endswith("INT")
        or dtype
        in (
            "INTEGER",
            "UINTEGER",
            "DOUBLE",
            "FLOAT",
        )
        or dtype.startswith("DECIMAL")
    )


def is_id(column: Column) -> bool:
    """Whether it is an id by its name: cid, customer id, user_id; no yes or no is one (paid)."""
    return column.kind != "yes_no" and bool(re.search(r"(id|key|uuid|guid)$", column.name.lower()))


def _sql(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(columns: list[Column]) -> dict[str, str]:
    """By column the name of its metric: its own, as far as a name can hold it, and no other's."""
    found: dict[str, str] = {}
    for i, column in enumerate(columns, 1):
        plain = re.sub(r"[^A-Za-z0-9_\-]", "_", column.name)
        if not re.search("[A-Za-z]", plain):
            plain = f"metric_{i}"
        elif not NAME.match(plain):
            plain = f"m_{plain}"
        while plain in found.values():
            plain += f"_{i}"
        found[column.name] = plain
    return found


def _report(names: dict[str, str], primary: str) -> list[str]:
    """The report's section; metrics that cannot have their column's name have it as a label."""
    labels = {name: yaml_word(column) for column, name in names.items() if name != column}
    if not labels:
        return ["report: {languages: [en, zh]}"]
    shown = names[primary]
    first = f"  labels: {{{shown}: {labels[shown]}}}" if shown in labels else "  # labels:"
    rest = [f"  #   {name}: {label}" for name, label in labels.items() if name != shown]
    return ["report:", "  languages: [en, zh]", first, *rest]


def _metric(column: Column, names: dict[str, str], role: str | None = None) -> str:
    name = names[column.name]
    parts = [f"name: {name}", f"kind: {'proportion' if column.kind == 'yes_no' else 'mean'}"]
    if name != column.name:
        parts.append(f"value: {yaml_word(column.name)}")
    if column.missing:
        parts.append("missing: drop")
    if role:
        parts.append(f"role: {role}")
    note = (
        f"   # {column.missing} values are missing: error | drop | zero" if column.missing else ""
    )
    return f"{{{', '.join(parts)}}}{note}"


def yaml_word(text: str) -> str:
    """`text` as a YAML word, in quotes where it needs them."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_/.\-]*", text) is not None
    truth = text.lower() in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
    return text if plain and not truth else json.dumps(text, ensure_ascii=False)
