"""A column of text that should hold numbers in; what its owner can do about it out."""

from __future__ import annotations

from retention_lab.data.source import Source
from retention_lab.data.sql import literal, quoted

# A number with a currency, a percent sign, or separators of thousands.
DRESSED = r"[^\d.,()+-]{0,3}\s?[-+(]?[^\d.,]{0,3}\d[\d.,'\s]*\s?[^\d.,]{0,3}\)?"


def why_text(source: Source, ref: str, column: str) -> str:
    """What to do about a column of text that should hold numbers; begins with '; ', or is empty."""
    name = f"trim({quoted(column)}::varchar)"
    (row,) = source.query(
        f"""select count(x) as n, count(distinct x) as levels,
        count(x) filter (try_cast(x as double) is null) as texts,
        count(x) filter (regexp_full_match(x, {literal(DRESSED)})) as dressed
        from (select {name} as x from t where {name} <> '')""",
        t=ref,
    )
    n, texts = row["n"], row["texts"]
    recipe = "as a table of the kind under 'Dates written as text' in docs/experiment-file.md"
    if n and row["dressed"] == n:
        return (
            "; its values are numbers with signs or separators (such as $, %, or the comma in "
            f"1,234.50): write them as 1234.50 in the file, or {recipe}"
        )
    if 0 < row["levels"] <= 2:
        return "; write yes and no, true and false, or 1 and 0"
    if n and texts <= n / 10:
        return f"; {texts:,} of its {n:,} values are no numbers: mend them in the file, or {recipe}"
    return ""
