"""The words by which programs say in a text file that a value is missing, in lower case."""

from __future__ import annotations

WORDS: tuple[str, ...] = ("", "na", "n/a", "#n/a", "<na>", "null", "(null)", "nan", "nat", "none")
WORDS += ("nil", "\\n", "-", ".", "?")
