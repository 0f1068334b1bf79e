"""registry.yaml in; the named datasets, their tables and the forms of their files, out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Wheel(NamedTuple):
    """A file inside an installed package: `path` below the import name `module`."""

    package: str
    module: str
    path: str


class Text(NamedTuple):
    """Columns (name to text, date, integer or number) of lines split at white space."""

    skip: int
    columns: tuple[tuple[str, str], ...]


class Form(NamedTuple):
    """One raw file that holds a table: its names, its sha256, where to get it, how to read it.

    With neither `text`, `rda` (the object's name in an R data file) nor `csv` DuckDB reads it as it
    is. (It reads a CSV file as well, but finds the types of its columns anew each time, which of
    Hillstrom's 64,000 rows takes a quarter of all that `validate` does.)
    """

    files: tuple[str, ...]
    sha256: str
    url: str | None = None
    wheel: Wheel | None = None
    text: Text | None = None
    rda: str | None = None
    csv: bool = False

    @property
    def converts(self) -> bool:
        """Whether the raw file has to be turned into Parquet first."""
        return self.text is not None or self.rda is not None or self.csv


class Table(NamedTuple):
    """A table, its number of rows where it is fixed, and the raw files that hold it.

    Where it has a `select`, it is made of the dataset's other tables, which that SQL names.
    """

    name: str
    rows: int | None
    forms: tuple[Form, ...]
    select: str | None = None


class Dataset(NamedTuple):
    """A named dataset. `made`: simulated on first use; `default`: the table without a name."""

    name: str
    title: str
    licence: str
    citation: str
    source: str | None
    tables: tuple[Table, ...]
    default: str | None
    made: bool


@functools.lru_cache(maxsize=1)
def registry() -> Mapping[str, Dataset]:
    """Every registered dataset by name, in the order of registry.yaml."""
    import yaml

    text = Path(__file__).with_name("registry.yaml").read_text("utf-8")
    entries: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return {name: _dataset(name, entry) for name, entry in entries.items()}


def _dataset(name: str, entry: dict[str, Any]) -> Dataset:
    tables = tuple(
        Table(
            name=key,
            rows=table.get("rows"),
            forms=tuple(_form(f) for f in table.get("forms", ())),
            select=table.get("select"),
        )
        for key, table in entry["tables"].items()
    )
    return Dataset(
        name=name,
        title=entry["title"],
        licence=entry["licence"],
        citation=entry["citation"],
        source=entry.get("source"),
        tables=tables,
        default=entry.get("default", tables[0].name if len(tables) == 1 else None),
        made=entry.get("made", False),
    )


def _form(entry: dict[str, Any]) -> Form:
    text = entry.get("text")
    return Form(
        files=tuple(entry["files"]),
        sha256=entry["sha256"],
        url=entry.get("url"),
        wheel=Wheel(**entry["wheel"]) if "wheel" in entry else None,
        text=Text(text["skip"], tuple(text["columns"].items())) if text else None,
        rda=entry.get("rda"),
        csv=entry.get("csv", False),
    )
