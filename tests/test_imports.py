"""What modules import as they are loaded: data flows one way, without a circle."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def modules(root: Path) -> dict[str, Path]:
    """The files of the package in `root` by the names that they are imported by."""
    found = {
        p.relative_to(root).with_suffix("").parts: p for p in root.rglob("retention_lab/**/*.py")
    }
    return {".".join(n[:-1] if n[-1] == "__init__" else n): p for n, p in found.items()}


def imported(tree: ast.Module, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules in `known` that are loaded before the module's own names are there."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in known:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in known else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)


def circle(root: Path) -> list[str] | None:
    """Modules that import each other, the first once more at the end; None where there are none."""
    known = modules(root)
    edges = {
        name: set(imported(ast.parse(p.read_text(encoding="utf-8")), known)) - {name}
        for name, p in known.items()
    }
    assert len(edges) > 1
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return None


def test_no_modules_import_each_other() -> None:
    assert circle(ROOT) is None


def test_modules_that_import_each_other_are_found(tmp_path: Path) -> None:
    inside = tmp_path / "retention_lab" / "part"
    inside.mkdir(parents=True)
    (inside.parent / "__init__.py").touch()
    (inside / "__init__.py").touch()
    (inside / "one.py").write_text("from retention_lab.part.two import b\n")
    (inside / "two.py").write_text("from retention_lab.part import one\n")
    assert set(circle(tmp_path) or ()) == {"retention_lab.part.one", "retention_lab.part.two"}
    (inside / "two.py").write_text("def b():\n    from retention_lab.part import one\n")
    assert circle(tmp_path) is None
