"""Text that may hold secrets in; the same with every secret replaced by its name out.

A secret is the value of an environment variable that the experiment file names as ``${NAME}``;
where the value is a URL, its password alone is one as well. Values shorter than `SHORTEST`
characters are left: replacing them would destroy text and hide nothing that cannot be guessed.
A file that cannot be cleaned is deleted: nobody could say that there is no secret in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from retention_lab.errors import RunError

SHORTEST = 4
NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S+")
END = re.compile(r"[?#;]")
HOST = re.compile(r"(\[[^\]\s]*\]|[^:\s]*)(:\d*)?")
PASSWORD = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
PARQUET = b"PAR1"


@dataclasses.dataclass(frozen=True, slots=True)
class Cleaning:
    """What `Redactor.folder` did: files written again or renamed, and deleted ones, with why."""

    changed: tuple[Path, ...] = ()
    deleted: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """A sentence for every deleted file."""
        return [
            f"{name} was deleted: a secret in it could not be replaced ({why})"
            for name, why in self.deleted.items()
        ]


class Redactor:
    """Replaces the values of the environment variables that `text` names as ``${NAME}``."""

    def __init__(self, text: str, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self.names = tuple(dict.fromkeys(NAMED.findall(text)))
        found: dict[str, str] = {}
        for name in self.names:
            for value in _parts(environment.get(name, "")):
                if len(value) >= SHORTEST:
                    found.update(dict.fromkeys(_forms(value), f"${{{name}}}"))
        self._places = dict(sorted(found.items(), key=lambda p: -len(p[0])))

    def __bool__(self) -> bool:
        return bool(self._places)

    def text(self, text: str) -> str:
        """`text` with ``${NAME}`` in place of each value, in any of its usual spellings."""
        for value, name in self._places.items():
            text = text.replace(value, name)
        return text

    def bytes(self, content: bytes) -> bytes:
        """The same for a file's content; in binary content a value is starred out in place."""
        values = [value.encode("utf-8", "surrogateescape") for value in self._places]
        if not any(value in content for value in values):
            return content
        try:
            return self.text(content.decode("utf-8")).encode("utf-8")
        except UnicodeDecodeError:
            for value in values:
                content = content.replace(value, b"*" * len(value))
            return content

    def folder(self, folder: Path) -> Cleaning:
        """Take the values out of every file below `folder`, and out of the files' names.

        A file that cannot be rewritten is deleted, whatever is wrong with it. Raises RunError,
        after all other files, where one cannot be deleted either.
        """
        if not self:
            return Cleaning()
        changed, deleted, stuck = [], {}, []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = self.text(path.relative_to(folder).as_posix())
            place = path
            try:
                place = self._renamed(path, folder, name)
                if self._file(place) or place != path:
                    changed.append(place)
            except Exception as error:
                deleted[name] = type(error).__name__
                try:
                    place.unlink(missing_ok=True)
                except OSError as second:
                    stuck.append(f"{name}: {second.strerror}")
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and self._named_in(path.relative_to(folder).as_posix()):
                with contextlib.suppress(OSError):
                    path.rmdir()  # its files have moved
        if stuck:
            raise RunError(f"may hold a secret and cannot be deleted: {'; '.join(stuck)}")
        return Cleaning(tuple(changed), deleted)

    def _named_in(self, name: str) -> bool:
        return self.text(name) != name

    def _renamed(self, path: Path, folder: Path, name: str) -> Path:
        """`path` under the clean `name`; beside what has that name already."""
        clean = folder / name
        if clean == path:
            return path
        number = 1
        while clean.exists():
            number += 1
            clean = (folder / name).with_name(f"{number}-{Path(name).name}")
        clean.parent.mkdir(parents=True, exist_ok=True)
        return path.rename(clean)

    def _file(self, path: Path) -> bool:
        """Rewrite one file; whether it had to be."""
        content = path.read_bytes()
        if path.suffix == ".parquet" or content.startswith(PARQUET):
            return self._parquet(path)
        clean = self.bytes(content)
        if clean == content:
            return False
        with _draft(path) as draft:
            draft.write_bytes(clean)
        return True

    def _parquet(self, path: Path) -> bool:
        """Text in a Parquet file is compressed: read, replaced and written again.

        Raises what pyarrow raises for a file that it cannot read, and ValueError where a value
        is left, such as in the name of a field within a column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrow: Any = pa
        parquet: Any = pq
        with parquet.ParquetFile(path) as file:
            table = file.read()
        clean = table
        for i, field in enumerate(table.schema):
            if not _may_hold_text(arrow, field.type):
                continue
            before = table.column(i).to_pylist()
            after = [self._value(v) for v in before]
            if after != before:
                clean = clean.set_column(i, field, arrow.array(after, field.type))
        names = [self.text(name) for name in clean.column_names]
        if names != clean.column_names:
            clean = clean.rename_columns(names)
        metadata = {self.bytes(k): self.bytes(v) for k, v in (table.schema.metadata or {}).items()}
        if metadata != (table.schema.metadata or {}):
            clean = clean.replace_schema_metadata(metadata)
        words = clean.schema.to_string(
            truncate_metadata=False, show_field_metadata=True, show_schema_metadata=True
        )
        if self.text(words) != words:
            raise ValueError("a secret in the schema")
        if clean is table:
            return False
        with _draft(path) as draft:
            parquet.write_table(clean, draft)
        return True

    def _value(self, value: Any) -> Any:
        """A value of any Arrow type, as Python has it, without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.bytes(value)
        if isinstance(value, list | tuple):
            return type(value)(self._value(v) for v in value)
        if isinstance(value, dict):
            return {k: self._value(v) for k, v in value.items()}
        return value


def without_credentials(text: str) -> str:
    """`text` with every address in it cut to its scheme, host, port and path.

    The user and the password before the host go, and so does what follows ``?`` or ``#``. Where
    one cannot tell which part is the host, nothing but the scheme is left.
    """
    return ADDRESS.sub(lambda found: address(found[0]), text)


def address(uri: str) -> str:
    """The same for a text that is one address as a whole, whatever is in it."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return uri
    place = END.split(rest, maxsplit=1)[0]
    if place.startswith("/"):
        return f"{scheme}://{place}"  # a path without a host, so without a user
    hidden = "@" in rest[len(place) :]
    place = place.rpartition("@")[2]
    if hidden or not HOST.fullmatch(place.split("/", 1)[0]):
        return f"{scheme}://***"
    return f"{scheme}://{place}"


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path`; gone where the writing fails."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _may_hold_text(arrow: Any, kind: Any) -> bool:
    """Whether a column of this Arrow type may hold text somewhere within."""
    types = arrow.types
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_temporal)
    return not any(check(kind) for check in (*plain, types.is_decimal, types.is_null))


def _parts(value: str) -> list[str]:
    """The value, and the passwords in it where it is a URL."""
    try:
        url = urlsplit(value)
        found = [url.password or "", *(v for k, v in parse_qsl(url.query) if PASSWORD.search(k))]
    except ValueError:
        found = []
    return [value, *found, *(unquote(f) for f in found)]


def _forms(value: str) -> Iterable[str]:
    """How a value is spelled in plain text, JSON, Python source, HTML and URLs."""
    forms = [value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    forms += [repr(value)[1:-1], html.escape(value), html.escape(value, quote=False)]
    forms += [quote(value), quote(value, safe=""), quote_plus(value)]
    forms += [json.dumps(form)[1:-1] for form in forms]
    return dict.fromkeys(forms)
