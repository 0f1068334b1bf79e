"""A raw file in; its digest, or the same rows as Parquet, out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from retention_lab.data.registry import Form, Text
from retention_lab.errors import DataError
from retention_lab.paths import cache_folder

SMALL = 5 * 1024 * 1024  # bytes that are hashed each time
MEMORY = re.compile(r"(\d+ \d+) ([0-9a-f]{64})")


def digest(path: Path) -> str:
    """The sha256 of the file; of a large one, as remembered for its path, size and time."""
    facts = path.stat()
    if facts.st_size <= SMALL:
        return _sha256(path)
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    memory = cache_folder() / "digests" / name
    known = f"{facts.st_size} {facts.st_mtime_ns}"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        remembered = MEMORY.fullmatch(memory.read_text(encoding="ascii"))
        if remembered and remembered[1] == known:
            return remembered[2]
    value = _sha256(path)
    with contextlib.suppress(OSError):  # a memory is a convenience
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(memory) as temporary:
            temporary.write_text(f"{known} {value}", encoding="ascii")
    return value


def check(path: Path, form: Form) -> None:
    """Raise DataError unless the file at `path` is the one that `form` describes."""
    try:
        found = digest(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if found != form.sha256:
        raise DataError(
            f"{path} is not the registered file: expected sha256 {form.sha256}, found {found}; "
            "move it away, or put the right file in its place"
        )


def to_parquet(path: Path, form: Form, target: Path) -> None:
    """Write the rows of the raw file at `path` to `target`, whole or not at all.

    Raises DataError where a package that reads it is missing or the cache cannot be written.
    """
    reader: Callable[[Path, Path], None]
    if form.text is not None:
        text = form.text

        def reader(raw: Path, out: Path) -> None:
            _text_to_parquet(raw, text, out)

    elif form.csv:
        reader = _csv_to_parquet
    else:

        def reader(raw: Path, out: Path) -> None:
            _rda_to_parquet(raw, str(form.rda), out)

    with writing(target.parent), replacing(target) as temporary:
        reader(path, temporary)


def select(sql: str, sources: Mapping[str, Path], target: Path) -> None:
    """Write the rows of `sql` over the files `sources`, which it names, to `target` as Parquet."""
    import duckdb

    with duckdb.connect() as connection, writing(target.parent), replacing(target) as temporary:
        for name, path in sources.items():
            connection.execute(f"create view {name} as from {_literal(path)}")
        connection.execute(f"copy ({sql}) to {_literal(temporary)} (format parquet)")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make `folder` in the cache; a DataError says how to mend what cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"the cache cannot be written ({error}); "
            "name a folder that can be in RETENTION_LAB_CACHE"
        ) from None


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, which takes its place at once when all went well."""
    temporary = target.with_name(f".{target.name}-{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text_to_parquet(path: Path, text: Text, target: Path) -> None:
    import datetime as dt

    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, tuple[pa.DataType, Callable[[str], object]]] = {
        "text": (pa.string(), str),
        "date": (pa.date32(), lambda word: dt.datetime.strptime(word, "%Y%m%d").date()),
        "integer": (pa.int64(), int),
        "number": (pa.float64(), float),
    }
    lines = path.read_text(encoding="ascii").splitlines()[text.skip :]
    words = zip(*(line.split() for line in lines if line.strip()), strict=True)
    columns = {}
    for (name, kind), column in zip(text.columns, words, strict=True):
        arrow, parse = kinds[kind]
        columns[name] = pa.array([parse(word) for word in column], arrow)
    pq.write_table(pa.table(columns), target, compression="zstd")


def _csv_to_parquet(path: Path, target: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        rows = f"from read_csv({_literal(path)}, sample_size = -1)"
        connection.execute(f"copy ({rows}) to {_literal(target)} (format parquet)")


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _rda_to_parquet(path: Path, name: str, target: Path) -> None:
    try:
        import pyreadr
    except ImportError:
        raise DataError(
            f"{path.name} is an R data file, which the package pyreadr reads: pip install pyreadr"
        ) from None
    frame = pyreadr.read_r(str(path), use_objects=[name])[name]
    frame.to_parquet(target, index=False, compression="zstd")
