"""An SQL expression of the file and its table in; what is wrong with it, or None, out."""

from __future__ import annotations

import re
from collections.abc import Collection

from retention_lab.data.source import Source
from retention_lab.errors import DataError, did_you_mean


def expression_fault(
    source: Source, key: str, text: str, ref: str, sql: str, types: Collection[str]
) -> str | None:
    """Why `text` is not one SQL expression of the columns of `ref` that gives one of `types`.

    `sql` is what is asked of the table for it.
    """
    from duckdb import Error, SQLExpression

    try:
        SQLExpression(text)
        row = source.query(f"select typeof(any_value({sql})) as type from (from t limit 1)", t=ref)
    except (DataError, Error) as error:
        absent = re.search(r'column "([^"]*)" not found', str(error))
        known = source.columns(ref)
        what = "it is not an SQL expression of the table's columns"
        if absent is not None:
            hint = did_you_mean(absent[1], known) or f"; it has {', '.join(known)}"
            what = f"column {absent[1]!r} is not in {ref}{hint}"
        elif isinstance(error, DataError) and "__postfix" not in str(error):
            what = str(error).removeprefix(f"{ref}: ").splitlines()[0]
        return f"{key}: {text!r}: {what}"
    if row[0]["type"] not in types:
        wanted = "a condition, true or false" if set(types) == {"BOOLEAN"} else "a number"
        return f"{key}: {text!r} gives {row[0]['type']}, not {wanted}"
    return None
