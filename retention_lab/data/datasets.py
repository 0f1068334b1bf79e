"""The name of a public dataset in; a local Parquet or CSV file that DuckDB reads, out.

A raw file is looked for in the folder that RETENTION_LAB_DATA names, in the user's cache, in an
installed package that holds it, and on the web, in this order. Wherever it is found, its sha256
is checked. What DuckDB cannot read is turned into Parquet in the cache, once. The simulated
shops (``twin`` and others) are made in the cache on first use. RETENTION_LAB_OFFLINE=1 forbids
downloads.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Literal

from retention_lab.data import raw
from retention_lab.data.registry import Dataset, Form, Table, registry
from retention_lab.errors import DataError, did_you_mean
from retention_lab.paths import cache_folder

Place = Literal["folder", "cache", "wheel", "made", "download"]
TIMEOUT = (5, 15)  # seconds to connect, and to wait for the next bytes
TWIN_FILES = (
    "customers.parquet",
    "assignments.parquet",
    "orders.parquet",
    "refunds.parquet",
    "unsubscribes.parquet",
    "truth.json",
)


class DatasetMissingError(DataError):
    """A dataset that the lab knows, but that is not at hand and cannot be had now."""


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetStatus:
    """What is known of a dataset, and whether it is at hand.

    found_in is where its files were found; ``made`` and ``download``: they will be there on
    first use; None: they have to be brought. path is the first table's file, where there is
    one. how_to_get is a sentence for the user, empty where nothing has to be done.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    licence: str
    citation: str
    found_in: Place | None
    path: Path | None
    how_to_get: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    place: Place
    path: Path
    form: Form | None  # None: ready to be read


def locate(ref: str) -> Path:
    """The local file behind ``dataset:ref``, such as ``hillstrom`` or ``twin/orders``.

    Raises DatasetMissingError where the dataset cannot be had now (it says what to put where), and
    DataError for an unknown name, a file with another sha256, or a cache that cannot be written.
    """
    dataset, table = _resolve(ref)
    if dataset.made:
        return _twin(dataset.name) / f"{table.name}.parquet"
    if table.select is not None:
        return _selected(dataset, table, table.select)
    found = _search(dataset, table)
    if found is None:
        found = _download(dataset, table)
    return _ready(dataset, table, found)


def _selected(dataset: Dataset, table: Table, select: str) -> Path:
    """A table that is made of the dataset's others, in the cache."""
    words = set(re.findall(r"\w+", select))
    others = [t for t in dataset.tables if t.select is None and t.name in words]
    key = hashlib.sha256(select.encode())
    for other in others:
        key.update("".join(form.sha256 for form in other.forms).encode())
    name = f"{table.name}-{key.hexdigest()[:16]}.parquet"
    parquet = cache_folder() / "datasets" / dataset.name / name
    if not parquet.is_file():
        raw.select(select, {t.name: locate(f"{dataset.name}/{t.name}") for t in others}, parquet)
    return parquet


def status() -> tuple[DatasetStatus, ...]:
    """The state of every registered dataset. Downloads, makes and converts nothing."""
    return tuple(_status(dataset) for dataset in registry().values())


def describe(name: str) -> DatasetStatus:
    """The state of one dataset; `name` may say a table as well. DataError where unknown."""
    return _status(_resolve(name, table_needed=False)[0])


def _status(dataset: Dataset) -> DatasetStatus:
    place: Place | None
    path: Path | None = None
    hint = ""
    tables = [t for t in dataset.tables if t.select is None]
    if dataset.made:
        place = "made"
        first = _twin_folder(dataset.name) / f"{dataset.tables[0].name}.parquet"
        path = first if first.is_file() else None
    else:
        try:
            found = [_search(dataset, table) for table in tables]
        except DataError as error:
            found, hint = [None], str(error)
        first_found = found[0]
        if first_found is not None and all(found):
            place, path = first_found.place, first_found.path
        elif not hint and not _offline() and all(_url(t) for t in tables):
            place, hint = "download", "downloaded on first use"
        else:
            missing = [t for t, f in zip(tables, found, strict=False) if f is None]
            place, hint = None, hint or _how_to_get(missing)
    return DatasetStatus(
        name=dataset.name,
        title=dataset.title,
        tables=tuple(table.name for table in dataset.tables),
        licence=dataset.licence,
        citation=dataset.citation,
        found_in=place,
        path=path,
        how_to_get=hint,
    )


def _resolve(ref: str, table_needed: bool = True) -> tuple[Dataset, Table]:
    name, _, table_name = ref.partition("/")
    known = registry()
    if name not in known:
        hint = did_you_mean(name, known) or f"; the lab knows {', '.join(known)}"
        raise DataError(f"there is no dataset {name!r}{hint}")
    dataset = known[name]
    tables = {table.name: table for table in dataset.tables}
    if not table_name:
        if dataset.default is None and table_needed:
            raise DataError(
                f"dataset {name!r} has several tables; write one of "
                + ", ".join(f"{name}/{table}" for table in tables)
            )
        return dataset, tables[dataset.default or next(iter(tables))]
    if table_name not in tables:
        hint = did_you_mean(table_name, tables) or f"; it holds {', '.join(tables)}"
        raise DataError(f"dataset {name!r} has no table {table_name!r}{hint}")
    return dataset, tables[table_name]


def _search(dataset: Dataset, table: Table) -> _Found | None:
    """The table in the folder, the cache or a wheel; DataError for a file that is not it."""
    folder = _folder()
    if folder is not None:
        for form in table.forms:
            for name in form.files:
                if (folder / name).is_file():
                    raw.check(folder / name, form)
                    return _Found("folder", folder / name, form)
    for form in table.forms:
        parquet = _parquet(dataset, table, form)
        if form.converts and parquet.is_file():
            return _Found("cache", parquet, None)
        kept = _kept(dataset, form)
        if kept.is_file():
            raw.check(kept, form)
            return _Found("cache", kept, form)
    for form in table.forms:
        path = _in_wheel(form)
        if path is not None:
            raw.check(path, form)
            return _Found("wheel", path, form)
    return None


def _ready(dataset: Dataset, table: Table, found: _Found) -> Path:
    """The file itself, or its Parquet in the cache, made if it is not there."""
    if found.form is None or not found.form.converts:
        return found.path
    parquet = _parquet(dataset, table, found.form)
    if not parquet.is_file():
        raw.to_parquet(found.path, found.form, parquet)
    return parquet


def _download(dataset: Dataset, table: Table) -> _Found:
    form = next((f for f in table.forms if f.url), None)
    absent = f"dataset {dataset.name!r} ({table.name}) is not at hand"
    hint = _how_to_get([table])
    if form is None or form.url is None:
        raise DatasetMissingError(f"{absent}; {hint}")
    if _offline():
        raise DatasetMissingError(f"{absent}, and RETENTION_LAB_OFFLINE forbids downloads; {hint}")
    target = _kept(dataset, form)
    import pooch

    pooch.get_logger().setLevel("ERROR")
    with raw.writing(target.parent):
        fetch = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
        try:
            pooch.retrieve(
                form.url,
                known_hash=f"sha256:{form.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=fetch,
            )
        except (OSError, ValueError) as error:
            why = _why(error, form.url)
            raise DatasetMissingError(
                f"{absent}, and the download failed ({why}); {hint}"
            ) from None
    return _Found("download", target, form)


def _why(error: Exception, url: str) -> str:
    """A failed download in a few words."""
    from urllib.parse import urlsplit

    import requests

    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return f"no answer from {urlsplit(url).hostname}"
    return str(error)


def _how_to_get(tables: list[Table]) -> str:
    forms = [form for table in tables for form in table.forms]
    files = ", ".join(dict.fromkeys(form.files[0] for form in forms if form.url or form.wheel))
    packages = dict.fromkeys(form.wheel.package for form in forms if form.wheel)
    install = f"pip install {' '.join(packages)}, or " if packages else ""
    urls = [form.url for form in forms if form.url]
    source = f" (from {urls[0]})" if urls else ""
    return f"{install}put {files}{source} into the folder that RETENTION_LAB_DATA names"


def _folder() -> Path | None:
    named = os.environ.get("RETENTION_LAB_DATA")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(f"RETENTION_LAB_DATA names {named}, which is not a folder")
    return folder


def _offline() -> bool:
    return os.environ.get("RETENTION_LAB_OFFLINE", "") not in ("", "0")


def _url(table: Table) -> str | None:
    return next((form.url for form in table.forms if form.url), None)


def _kept(dataset: Dataset, form: Form) -> Path:
    return cache_folder() / "datasets" / dataset.name / Path(form.files[0]).name


def _parquet(dataset: Dataset, table: Table, form: Form) -> Path:
    name = f"{table.name}-{form.sha256[:16]}.parquet"
    return cache_folder() / "datasets" / dataset.name / name


def _in_wheel(form: Form) -> Path | None:
    """The form's file in an installed package, which is not imported."""
    if form.wheel is None:
        return None
    spec = importlib.util.find_spec(form.wheel.module)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / form.wheel.path
        if path.is_file():
            return path
    return None


def _twin(name: str = "twin") -> Path:
    """The folder of the simulated shop called `name`, made if a file of it is not there."""
    folder = _twin_folder(name)
    files = _twin_files(name)
    if all((folder / file).is_file() for file in files):
        return folder
    import tempfile

    shop = _simulated(name)
    # Several processes may come here at once: each brings the same files, each file at once.
    with (
        raw.writing(folder),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as making,
    ):
        shop.write(making)
        for file in files:
            (Path(making) / file).replace(folder / file)
    return folder


def _twin_files(name: str) -> tuple[str, ...]:
    """The files of a simulated dataset: its tables and their truth."""
    return (*(f"{t.name}.parquet" for t in registry()[name].tables), "truth.json")


def _simulated(name: str) -> Any:
    """The tables of a simulated dataset: a shop's, a rollout's by market, or those of a limit."""
    scenario = _scenario(name)
    if type(scenario).__name__ == "Warehouses":
        from retention_lab.twin.rollout import simulate_rollout

        return simulate_rollout(scenario)
    if type(scenario).__name__ == "Limit":
        from retention_lab.twin.threshold import simulate_limit

        return simulate_limit(scenario)
    from retention_lab.twin import simulate

    return simulate(scenario)


def _scenario(name: str) -> Any:
    from retention_lab.twin.scenario import MADE, scenario_of

    if name in MADE:
        return scenario_of(name)
    from retention_lab.twin.limits import LIMITS
    from retention_lab.twin.warehouses import ROLLOUTS

    return {**ROLLOUTS, **LIMITS}[name]


@functools.lru_cache(maxsize=8)
def _twin_key(name: str = "twin") -> str:
    """Digest of the scenario and of the twin's code."""
    from retention_lab.twin import scenario as module

    scenario = json.dumps(dataclasses.asdict(_scenario(name)), default=str, sort_keys=True)
    key = hashlib.sha256(scenario.encode())
    for file in sorted(Path(module.__file__).parent.glob("*.py"), key=lambda f: f.name):
        key.update(file.read_bytes())
    return key.hexdigest()


def _twin_folder(name: str = "twin") -> Path:
    return cache_folder() / "twin" / f"{_scenario(name).name}-{_twin_key(name)[:16]}"
