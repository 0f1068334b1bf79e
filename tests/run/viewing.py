"""A run's case in; the parts of its report, and their words as they are read, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from run.sample import write
from run.sample_rows import Case

from retention_lab.results import Results, Row
from retention_lab.run.view.blocks import Block
from retention_lab.run.view.source import Source, Tongue

NBSP = "\u00a0"


def source(case: Case, tmp_path: Path) -> Source:
    return Source.load(write(case, tmp_path))


def en(found: Source) -> Tongue:
    return Tongue(found.spec, "en")


def named(blocks: tuple[Block, ...], title: str) -> Block:
    return next(b for b in blocks if b.title == title)


def cells(block: Block, i: int = 0) -> list[list[str]]:
    lines = [[cell.text for cell in line] for line in block.tables[i].lines]
    return [[text.replace(NBSP, " ") for text in line] for line in lines]


def said(block: Block) -> str:
    return " ".join(block.said).replace(NBSP, " ")


def altered(case: Case, change: Callable[[Row], Row]) -> Case:
    return dataclasses.replace(case, results=Results.of(map(change, case.results.rows)))
