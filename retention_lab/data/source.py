"""References to tables (paths, globs, datasets, table names) in; lazy frames out."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from retention_lab.data.footers import LONG, misread
from retention_lab.data.sql import literal, quoted
from retention_lab.data.times import HOUR
from retention_lab.errors import DataError, PlanError, did_you_mean
from retention_lab.experiment.spec import Data, Duckdb, Spec, hours

ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SMALL = 32 * 2**20  # bytes
MANY = 5_000_000  # rows, of which hashes are sorted at a time
EPOCH, MICROSECOND = dt.datetime(1970, 1, 1), dt.timedelta(microseconds=1)
READERS = dict.fromkeys((".parquet", ".pq"), "read_parquet")
READERS |= dict.fromkeys((".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"), "read_csv")
if TYPE_CHECKING:
    import duckdb
    import narwhals as nw
else:
    try:
        # The engine itself. Its package gives the same names again, and reads its version from
        # what is installed, which takes longer than loading the engine.
        import _duckdb as duckdb
    except ImportError:
        import duckdb

Frame: TypeAlias = "nw.LazyFrame[Any]"


def expand(text: str) -> str:
    """Replace every ``${NAME}`` by the environment's value; DataError names an absent one."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise DataError(f"{text!r} needs the environment variable {found[1]}, which is not set")
        return os.environ[found[1]]

    return ENV.sub(value, text)


def conceal(text: str, names: Iterable[str]) -> str:
    """Put ``${NAME}`` back wherever the value of an environment variable shows in `text`."""
    for name in names:
        value = os.environ.get(name)
        if value:
            text = text.replace(value, f"${{{name}}}")
    return text


class Source:
    """The engine in which the rows live. Tables are lazy; nothing is read until it is reduced.

    Relative paths are looked for beside the experiment file first, then in the project's root.
    Times without a zone are read in the file's time zone, which is the engine's as well.
    """

    def __init__(self, data: Data, base: Path, root: Path) -> None:
        if not (data.engine == "duckdb" or isinstance(data.engine, Duckdb)):
            name = type(data.engine).__name__.lower()
            raise PlanError(
                f"data.engine: reading through {name} does not exist yet; the engine is duckdb"
            )
        self._folders = tuple(dict.fromkeys((base, root)))
        self._secrets: set[str] = set()
        self._utc = data.timezone in ("UTC", "Etc/UTC")
        self._database: tuple[Path, ...] = ()
        if isinstance(data.engine, Duckdb):
            self._database = self._paths(data.engine.duckdb)[:1]
        database = str(self._database[0]) if self._database else ":memory:"
        with self._errors(f"data.engine: {data.engine}"):
            self.connection = duckdb.connect(database, read_only=bool(self._database))
            # Without ipywidgets DuckDB shows no bar in Jupyter, and refuses to be told so.
            bar = "select current_setting('enable_progress_bar')"
            if self.connection.execute(bar).fetchall() != [(False,)]:
                self.connection.execute("set enable_progress_bar = false")
            self.connection.execute("set preserve_insertion_order = false")
            self.connection.execute(f"set timezone = '{data.timezone}'")
        self._scans: dict[str, str] = {}
        self._described: dict[str, dict[str, str]] = {}
        self._counted: dict[tuple[str, str], tuple[int, int]] = {}

    def table(
        self,
        ref: str,
        columns: Mapping[str, str],
        at: str | None = None,
        derived: Mapping[str, str] | None = None,
    ) -> Frame:
        """Columns of the table that `ref` names, as a lazy frame.

        `columns` maps names of the frame to columns of the table, which may be called anything;
        the frame's `at`, if given, is an instant: Int64, microseconds since 1970-01-01 00:00 UTC.
        `derived` maps further names to SQL, such as `day` and `bucket` give.
        Raises DataError where the table cannot be found or opened, with the nearest known name.
        """
        import duckdb  # noqa: F401 - Narwhals knows a relation by its package
        import narwhals as nw

        with self._errors(ref):
            wanted = {
                name: self.instant(ref, c) if name == at else quoted(c)
                for name, c in columns.items()
            } | dict(derived or {})
            said = ", ".join(f"{sql} as {quoted(name)}" for name, sql in wanted.items())
            return nw.from_native(self.connection.sql(f"select {said} from {self.scan(ref)}"))

    def instant(self, ref: str, column: str, table: str | None = None) -> str:
        """SQL for the microseconds since 1970-01-01 UTC of a date or time column.

        A time without a zone is wall-clock time in the file's zone; a date is its midnight there.
        (Never by subtracting times with zones, which takes DuckDB a hundred times longer.)
        """
        name = f"{table}.{quoted(column)}" if table else quoted(column)
        dtype = self._types(ref).get(column, "")
        if self._utc and dtype == "DATE":
            return f"epoch_us({name}::timestamp)"
        if dtype == "TIMESTAMP WITH TIME ZONE" or (self._utc and dtype.startswith("TIMESTAMP")):
            return f"epoch_us({name})"
        return f"epoch_us({name}::timestamptz)"

    def later(self, ref: str, column: str, instant: int) -> str:
        """SQL for whether a date or time column lies after `instant` (as `instant` gives it).

        Of a plain time the column itself is compared, by which DuckDB passes over rows unread.
        """
        if self._utc and self._types(ref).get(column) == "TIMESTAMP":
            return f"{quoted(column)} > make_timestamp({instant})"
        return f"{self.instant(ref, column)} > {instant}"

    @staticmethod
    def day(column: str) -> str:
        """SQL for the calendar day of a date or time, in the file's zone: days since 1970-01-01."""
        return f"{quoted(column)}::date - date '1970-01-01'"

    @staticmethod
    def bucket(column: str, count: int) -> str:
        """SQL for one of `count` buckets, by a hash of the column that no shop assigns arms by.

        (The hash of the hash: with a salt of text it takes DuckDB twice as long.)
        """
        return f"(hash(hash({quoted(column)})) % {count})::integer"

    def cluster(self, ref: str, spec: Spec) -> tuple[str, str]:
        """SQL for an alias of the cluster that was randomised, and for whether a unit is kept.

        An alias (MD5) does not show the cluster's name. Of a switchback the cluster is a block of
        wall-clock time, counted from 1970-01-01 00:00 or so that one begins at its `start`, of each
        `by`; its burn-in is not kept.
        """
        design, main = spec.design, spec.data.assignments
        assert design is not None
        if design.switchback is None:
            name = quoted(str(design.cluster))
            return f"left(md5({name}::varchar), 16)", "true"
        assert main is not None
        at = f"epoch_us({quoted(main.at)}::timestamp)"
        every, burnt = (
            hours(w) * HOUR if w else 0
            for w in (design.switchback.every, design.switchback.burn_in)
        )
        start = design.switchback.start or EPOCH
        at = f"({at} - {(start - EPOCH) // MICROSECOND % every})"
        by = f"{quoted(design.switchback.by)}::varchar" if design.switchback.by else "''"
        block = f"left(md5(({at} // {every})::varchar || ' ' || {by}), 16)"
        return block, f"{at} % {every} >= {burnt}"

    def files(self, ref: str) -> tuple[Path, ...]:
        """The local files behind `ref`, sorted; the DuckDB file for one of its tables."""
        return self._database if ref.startswith("table:") else self._paths(ref)

    def spare_threads(self, files: Sequence[Path]) -> None:
        """Read with one thread where `files` are small: starting others takes longer than reading.

        (40,000 units with 130,000 orders on 2 cores: a tenth of the CPU time of `validate`. Of a
        CSV file of 64,000 rows two threads find the types in 2.7 times the CPU time of one.)
        """
        if sum(f.stat().st_size for f in files) < SMALL:
            self.connection.execute("set threads = 1")

    def query(self, sql: str, **tables: str) -> list[dict[str, Any]]:
        """Rows of a small query; `tables` gives the reference behind each table name in it."""
        with self._errors(", ".join(tables.values())):
            named = ", ".join(
                f"{name} as not materialized (from {self.scan(ref)})"
                for name, ref in tables.items()
            )
            cursor = self.connection.execute(f"with {named} {sql}" if named else sql)
            names = [d[0] for d in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextmanager
    def named(self, name: str, sql: str, *, keep: bool) -> Iterator[None]:
        """Let `name` stand for the rows of `sql`; `keep` them in memory where they are dear."""
        kind = "table" if keep else "view"
        with self._errors("the tables"):
            self.connection.execute(f"create temp {kind} {name} as {sql}")
        try:
            yield
        finally:
            self.connection.execute(f"drop {kind} {name}")

    def columns(self, ref: str) -> dict[str, str]:
        """The columns of the table `ref`: name -> number, truth, text, date, time or other."""
        return {name: _kind(dtype) for name, dtype in self._types(ref).items()}

    def fractional(self, ref: str) -> frozenset[str]:
        """The columns of `ref` that can hold NaN and infinity."""
        types = self._types(ref).items()
        return frozenset(name for name, dtype in types if dtype in ("FLOAT", "DOUBLE"))

    def counts(self, ref: str, column: str) -> tuple[int, int]:
        """How many rows of `ref` have a value in `column`, and how many values that are; once."""
        if (ref, column) not in self._counted:
            name = quoted(column)
            sql = f"select count({name}) as n, count(distinct {name}) as d from t"
            (row,) = self.query(sql, t=ref)
            self._counted[ref, column] = int(row["n"]), int(row["d"])
        return self._counted[ref, column]

    def repeats(self, ref: str, column: str) -> bool:
        """Whether a value of `column` stands in two rows of `ref`.

        Of many rows the 64-bit hashes are sorted, in parts: where those differ, the values do.
        (Ten million ids: a fifth of the CPU time of counting the distinct ones.)
        """
        name, scan = quoted(column), self.scan(ref)
        (row,) = self.query(f"select count({name}) as n from t", t=ref)
        if row["n"] <= MANY:
            rows, values = self.counts(ref, column)
            return rows != values
        parts = -(-row["n"] // MANY)
        for part in range(parts):
            sql = f"select hash({name}) as h from {scan} where {name} is not null"
            with self._errors(ref):
                found = self.connection.execute(f"{sql} and hash({name}) % {parts} = {part}")
                hashes: Any = found.fetchnumpy()["h"]
            hashes.sort()
            if (hashes[1:] == hashes[:-1]).any():
                rows, values = self.counts(ref, column)
                return rows != values
        return False

    def _types(self, ref: str) -> dict[str, str]:
        if ref not in self._described:
            with self._errors(ref):
                found = self.connection.execute(f"describe from {self.scan(ref)}").fetchall()
                self._described[ref] = {row[0]: row[1] for row in found}
                if self.scan(ref).startswith("read_parquet"):
                    self._described[ref] |= misread(self._run, self._names(self._paths(ref)))
        return self._described[ref]

    def rows(self, frame: Frame) -> list[dict[str, Any]]:
        """Run a small query and bring its rows home as plain Python values."""
        with self._errors("a table"):
            relation = frame.to_native()
            names = relation.columns
            return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]

    def arrays(self, frame: Frame) -> dict[str, Any]:
        """Run a query and bring its columns home as numpy arrays (masked where null)."""
        with self._errors("a table"):
            columns: dict[str, Any] = frame.to_native().fetchnumpy()
            return columns

    def conceal(self, text: str) -> str:
        """`text` without the values of the environment variables that the file names."""
        return conceal(text, self._secrets)

    def define(self, ref: str, sql: str) -> str:
        """Let the name `ref` stand for the rows of `sql`, a select in brackets; returns `ref`."""
        self._scans[ref] = sql
        return ref

    def scan(self, ref: str) -> str:
        """SQL for the rows of `ref`. (Text: DuckDB's relation methods import pandas.)"""
        if ref.startswith("table:"):
            return self._named_table(ref.removeprefix("table:"))
        if ref not in self._scans:
            self._scans[ref] = self._reader(ref)
        return self._scans[ref]

    def _reader(self, ref: str) -> str:
        paths = self._paths(ref)
        names = [p.name.lower() for p in paths]
        readers = {next((r for end, r in READERS.items() if n.endswith(end)), None) for n in names}
        if None in readers:
            kinds = ", ".join(READERS)
            raise DataError(f"{ref!r}: the lab reads {kinds}, and DuckDB files as data.engine")
        if len(readers) > 1:
            raise DataError(f"{ref!r} mixes Parquet and CSV files")
        if readers == {"read_csv"}:
            return self._csv(paths)
        by_name = ", union_by_name = true" if len(paths) > 1 else ""
        return f"read_parquet([{', '.join(self._names(paths))}]{by_name})"

    def _csv(self, paths: tuple[Path, ...]) -> str:
        from retention_lab.data import delimited

        self.spare_threads(paths)
        try:
            return delimited.reader(self._run, self._names(paths))
        except duckdb.Error:
            delimited.coded(paths)
            raise
        finally:
            self.connection.execute("reset threads")

    @staticmethod
    def _names(paths: Sequence[Path]) -> list[str]:
        return [literal(_plain(p)) for p in paths]

    def _run(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def _named_table(self, name: str) -> str:
        found = self.connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "order by table_schema = 'main', table_schema"
        ).fetchall()
        known = {f"{schema}.{table}": (schema, table) for schema, table in found}
        known |= {table: (schema, table) for schema, table in found}
        if name not in known:
            hint = did_you_mean(name, known)
            holds = hint or f"; it holds {', '.join(sorted(known)) or 'no table'}"
            raise DataError(f"there is no table {name!r} in the DuckDB file{holds}")
        return ".".join(quoted(part) for part in known[name])

    def _paths(self, ref: str) -> tuple[Path, ...]:
        if ref.startswith("dataset:"):
            from retention_lab.data.datasets import locate

            return (locate(ref.removeprefix("dataset:")),)
        self._secrets.update(ENV.findall(ref))
        if "://" in ref:
            what = "addresses are not read: fetch the file, and give its path"
            raise DataError(self.conceal(f"{ref!r}: {what}"))
        name = Path(expand(ref)).expanduser()
        for folder in self._folders:
            if any(c in str(name) for c in "*?["):
                whole = (folder / name).absolute()
                pattern = str(whole.relative_to(whole.anchor))
                found = sorted(p for p in Path(whole.anchor).glob(pattern) if p.is_file())
            else:
                found = [folder / name] if (folder / name).is_file() else []
            if found:
                return tuple(found)
        beside = [(folder / name).parent for folder in self._folders]
        near = [p.name for parent in beside if parent.is_dir() for p in parent.iterdir()]
        looked = " nor in ".join(str(f) for f in self._folders)
        where = "" if name.is_absolute() else f" (not in {looked})"
        raise DataError(self.conceal(f"no file {ref!r}{where}{did_you_mean(name.name, near)}"))

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, OSError, RuntimeError) as error:
            message = _without_values(str(error))
            raise DataError(self.conceal(f"{what}: {message}")) from None


def _plain(path: Path) -> str:
    """A path that DuckDB takes as one file, whatever characters are in it."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _without_values(message: str) -> str:
    """An engine's error without the rows that it quotes: they are customers'."""
    message = message.split("Original Line")[0].split("\n\n")[0].strip()
    return re.sub(r"(?i)\b(string|value) (['\"]).*?\2", "a value", message)


def _kind(dtype: str) -> str:
    """The plain word for an engine's type."""
    if dtype in ("BOOLEAN", LONG):
        return "truth" if dtype == "BOOLEAN" else dtype
    if dtype == "DATE":
        return "date"
    if dtype.startswith("TIMESTAMP"):
        return "time"
    if dtype in ("VARCHAR", "UUID") or dtype.startswith("ENUM"):
        return "text"
    numbers = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
    return "number" if dtype.removeprefix("U").startswith(numbers) else "other"
