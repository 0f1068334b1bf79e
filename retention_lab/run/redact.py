"""Text that may hold secrets in; the same with every secret replaced by its name out.

A secret is the value of an environment variable that the experiment file names as ``${NAME}``;
where the value is a URL, its password alone is one as well. Values shorter than `SHORTEST`
characters are left: replacing them would destroy text and hide nothing that cannot be guessed.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from retention_lab.errors import RunError

SHORTEST = 4
NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


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
        if not any(value.encode() in content for value in self._places):
            return content
        try:
            return self.text(content.decode("utf-8")).encode("utf-8")
        except UnicodeDecodeError:
            for value in self._places:
                content = content.replace(value.encode(), b"*" * len(value.encode()))
            return content

    def folder(self, folder: Path) -> list[Path]:
        """Rewrite every file below `folder` that holds a value; returns the files changed.

        Raises RunError where such a file cannot be rewritten.
        """
        if not self:
            return []
        return [p for p in sorted(folder.rglob("*")) if p.is_file() and self._file(p)]

    def _file(self, path: Path) -> bool:
        try:
            if path.suffix == ".parquet":
                return self._parquet(path)
            content = path.read_bytes()
            clean = self.bytes(content)
            if clean == content:
                return False
            _replace(path, clean)
        except OSError as error:
            raise RunError(f"{path} may hold a secret and cannot be rewritten: {error}") from None
        return True

    def _parquet(self, path: Path) -> bool:
        """Text columns of a Parquet file are compressed: read, replaced and written again."""

        import pyarrow as pa
        import pyarrow.parquet as pq

        arrow: Any = pa
        parquet: Any = pq
        try:
            table = parquet.read_table(path)
        except arrow.ArrowInvalid:
            return False  # half a file, left by a kernel that died: nobody can read it either
        clean = table
        for i, column in enumerate(table.schema):
            if arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type):
                before = table.column(i).to_pylist()
                after = [None if v is None else self.text(v) for v in before]
                if after != before:
                    clean = clean.set_column(i, column, arrow.array(after, column.type))
        if clean is table:
            return False
        draft = path.with_name(f".{path.name}.draft")
        parquet.write_table(clean, draft)
        draft.replace(path)
        return True


def without_credentials(uri: str) -> str:
    """`uri` without the user and password before its host."""
    return CREDENTIALS.sub("", uri)


def _parts(value: str) -> list[str]:
    """The value, and the password in it where it is a URL."""
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        password = ""
    return [value, password, unquote(password)]


def _forms(value: str) -> Iterable[str]:
    """How a value is spelled in plain text, JSON, Python source, HTML and URLs."""
    forms = [value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    forms += [repr(value)[1:-1], html.escape(value), html.escape(value, quote=False)]
    forms += [quote(value), quote(value, safe=""), quote_plus(value)]
    forms += [json.dumps(form)[1:-1] for form in forms]
    return dict.fromkeys(forms)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)
