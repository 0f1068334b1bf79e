"""What the tests share: where data is, and a way to write an experiment with its tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from asking import ask, project

__all__ = ["ask", "project"]  # fixtures of the command line

HERE = Path(__file__).parent
NONE: Mapping[str, Any] = MappingProxyType({})
SHARED = HERE.parent.parent / "shared" / "data"
if SHARED.is_dir():
    os.environ.setdefault("RETENTION_LAB_DATA", str(SHARED))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made datasets go to a cache of the test session, shared by its workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    os.environ["RETENTION_LAB_CACHE"] = str(shared / "cache")


@pytest.fixture(scope="session", autouse=True)
def _remarks_can_be_told() -> Iterator[None]:
    """Whatever a test makes a check remark, it gives the numbers that a report tells it with."""
    from retention_lab.experiment.findings import Check
    from retention_lab.experiment.remarks import REMARKS
    from retention_lab.run.view.remarked import FOLLOWED
    from retention_lab.texts import placeholders, texts

    make = Check.__new__

    def told(cls: Any, code: str, ok: bool, text: str, numbers: Mapping[str, Any] = NONE) -> Any:
        if ok and code in REMARKS and code not in FOLLOWED:
            key = f"remark.{code}_{numbers['how']}" if "how" in numbers else f"remark.{code}"
            wanted = placeholders(texts("en")[key]) | placeholders(texts("zh")[key])
            assert wanted <= {*numbers, "all"}, f"{code}: {wanted} of {set(numbers)}"
        return make(cls, code, ok, text, numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Check, "__new__", told)
        yield


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Reference numbers of independent libraries; see their `source` keys."""
    content: dict[str, Any] = json.loads((HERE / "golden" / "incentives.json").read_text())
    return content


@pytest.fixture
def hillstrom() -> Path:
    """The real e-mail experiment; skips, saying how to get it, where it is not at hand."""
    from retention_lab.data.datasets import locate
    from retention_lab.errors import DataError

    try:
        return locate("hillstrom")
    except DataError as error:
        pytest.skip(str(error))


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(tables, **spec): Parquet tables from columns, and an experiment file on them."""

    def _write(
        tables: Mapping[str, Mapping[str, Any]] | None = None, name: str = "trial", **spec: Any
    ) -> Path:
        for table, columns in (tables or {}).items():
            pq.write_table(pa.table(dict(columns)), tmp_path / f"{table}.parquet")
        content: dict[str, Any] = {"schema": 1, "name": name, "title": "A trial", **spec}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return _write
