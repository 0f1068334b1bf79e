"""A plan in; hashes of everything its results depend on, git state and versions out."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention_lab.errors import DataError
from retention_lab.experiment.remarks import remarks
from retention_lab.paths import cache_folder, project_root

if TYPE_CHECKING:
    from retention_lab.data.source import Source
    from retention_lab.experiment.plan import Plan
    from retention_lab.experiment.spec import Spec

PACKAGES = (
    "duckdb",
    "narwhals",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "statsmodels",
    "papermill",
    "ipykernel",
    "mlflow",
)
LAB = __name__.partition(".")[0]
CODE = (".py", ".yaml", ".j2", ".css")
FRESH_NS = 2_000_000_000  # a file changed less than 2 s ago may change again in the same tick
GIT_SECONDS = 5


def of_plan(plan: Plan, digests: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The part of run.json that says what is run, on what, and by which code.

    `digests` are the inputs as `inputs_of` returns them, where they are known already.
    """
    overrides = dict(plan.overrides)
    inputs = list(digests) if digests is not None else inputs_of(plan.spec, plan.source)
    root = plan.root
    notebook = root / "notebooks" / f"{plan.spec.notebook}.ipynb"
    hashes = hashes_of(plan.path, overrides, notebook, inputs)
    engine = plan.spec.data.engine
    return {
        "experiment": plan.spec.name,
        "file": within(plan.path, root),
        "title": plan.spec.title.en,
        "owner": plan.spec.owner,
        "overrides": overrides,
        "hashes": hashes,
        "key": key_of(hashes),
        "inputs": inputs,
        "git": git_state(root),
        "engine": engine if isinstance(engine, str) else next(iter(type(engine).model_fields)),
        "versions": versions(),
        # A split that is not the planned one makes the verdict invalid, which says enough.
        "faults": [c.text for c in plan.checks if not c.ok and c.code != "split"],
        "remarks": remarks(plan.checks, plan.spec.privacy.min_cell),
    }


def of_file(file: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The same where the file could not be planned: what can be said without its tables."""
    root = project_root(file)
    return {
        "experiment": file.stem,
        "file": within(file, root),
        "title": file.stem,
        "owner": None,
        "overrides": dict(overrides),
        "hashes": {
            "file": spec_hash(file, {}),
            "spec": spec_hash(file, overrides),
            "lock": lock_hash(),
            "code": code_hash(root),
        },
        "key": None,
        "inputs": [],
        "git": git_state(root),
        "engine": None,
        "versions": versions(),
        "faults": [],
    }


def within(path: Path, root: Path) -> str:
    """`path` relative to `root` where it lies inside, else absolute."""
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def hashes_of(
    file: Path, overrides: Mapping[str, Any], notebook: Path, inputs: Sequence[Mapping[str, Any]]
) -> dict[str, str | None]:
    """Hashes of file, spec, notebook, data, lock and code; data is None where it is not known.

    ``file`` is the experiment file as written; ``spec`` the same with the values that ``--set``
    changes, and equal to it where there are none.
    """
    return {
        "file": spec_hash(file, {}),
        "spec": spec_hash(file, overrides),
        "notebook": file_digest(notebook) if notebook.is_file() else None,
        "data": data_hash(inputs),
        "lock": lock_hash(),
        "code": code_hash(project_root(file)),
    }


def key_of(hashes: Mapping[str, str | None]) -> str | None:
    """One hash over all that results rest on; None (equal to no past run) where one is unknown."""
    names = ("spec", "notebook", "data", "lock", "code")
    if any(hashes.get(n) is None for n in names):
        return None
    return _sha256(json.dumps([hashes[n] for n in names]).encode())


def spec_hash(file: Path, overrides: Mapping[str, Any]) -> str:
    """sha256 of the experiment file's bytes, with what `overrides` change where they do."""
    if not overrides:
        return _sha256(file.read_bytes())
    changes = json.dumps(dict(overrides), sort_keys=True, default=str)
    return _sha256(file.read_bytes() + b"\0" + changes.encode())


def inputs_of(spec: Spec, source: Source) -> list[dict[str, Any]]:
    """name, ref, digest (sha256 or None) and bytes of every table that the file names.

    Needs no plan: unchanged work is found without a look at any row. A table of a DuckDB file
    counts with the whole file. Raises DataError where a table cannot be had.
    """
    from retention_lab.experiment.spec import Duckdb

    data = spec.data
    database = data.engine.duckdb if isinstance(data.engine, Duckdb) else ""
    tables = {f"moments.{i}": ref for i, ref in enumerate(data.moments)}
    tables |= {f"lives.{i}": ref for i, ref in enumerate(data.lives)}
    if data.units is not None:
        tables["units"] = data.units
    if data.assignments is not None:
        tables["assignments"] = data.assignments.table
    tables.update({f"events.{name}": timed.table for name, timed in data.events.items()})
    found = []
    for name, ref in tables.items():
        files = source.files(database if database and ref.startswith("table:") else ref)
        found.append(table_digest(name, ref, files))
    return found


def table_digest(name: str, ref: str, paths: Iterable[Path]) -> dict[str, Any]:
    """Digest of one table: of the file's bytes, or over the sorted members of a glob.

    Members count by their path below the folder they share, since partitions are named by it.
    A table without local files (a warehouse, a URL) has digest None. Raises DataError where a
    file cannot be read.
    """
    files = sorted({f for p in paths for f in _members(Path(p))})
    try:
        sizes = [f.stat().st_size for f in files]
        digests = [file_digest(f) for f in files]
    except OSError as error:
        raise DataError(f"{name}: {error.filename} cannot be read: {error.strerror}") from None
    if len(files) > 1:
        shared = Path(os.path.commonpath([f.parent for f in files]))
        named = [[f.relative_to(shared).as_posix(), d] for f, d in zip(files, digests, strict=True)]
        digest: str | None = _sha256(json.dumps(named).encode())
    else:
        digest = digests[0] if digests else None
    return {"name": name, "ref": ref, "digest": digest, "bytes": sum(sizes) if files else None}


def _members(path: Path) -> list[Path]:
    """The files of `path`: itself, with the log of a database beside it, or a folder's files."""
    if path.is_dir():
        return [p for p in path.rglob("*") if p.is_file()]
    log = path.with_name(path.name + ".wal")
    return [path, log] if log.is_file() else [path]


def data_hash(inputs: Sequence[Mapping[str, Any]]) -> str | None:
    """One hash over all tables by name; None where one cannot be known."""
    if any(i["digest"] is None for i in inputs):
        return None
    return _sha256(json.dumps(sorted([i["name"], i["digest"]] for i in inputs)).encode())


def file_digest(path: Path) -> str:
    """sha256 of the file's bytes; read again only when its size or times have changed."""
    path = path.resolve()
    stat = path.stat()
    seen = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    note = cache_folder() / "digests" / f"{_sha256(str(path).encode())[:32]}.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["seen"] == seen:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - stat.st_mtime_ns > FRESH_NS and path.stat().st_mtime_ns == stat.st_mtime_ns:
        _remember(note, {"seen": seen, "sha256": digest})
    return digest


def _remember(note: Path, content: Mapping[str, Any]) -> None:
    from retention_lab.run.folder import write_atomically

    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps(content))
    except OSError:
        return  # a cache that cannot be written costs time, nothing else


def code_hash(root: Path) -> str:
    """Hash of the code that a kernel in `root` runs: this package's, with texts and templates,
    and the project's own modules.

    Read again every time, since a kernel that starts later imports what is there by then.
    """
    package = Path(__file__).resolve().parents[1]
    own = sorted(p for p in package.rglob("*") if p.suffix in CODE)
    files = {p.relative_to(package).as_posix(): p for p in own}
    files.update({f"/{p.relative_to(root).as_posix()}": p for p in modules_of(root)})
    named = [[name, _sha256(path.read_bytes())] for name, path in files.items()]
    return _sha256(json.dumps(named).encode())


def modules_of(root: Path) -> list[Path]:
    """The project's Python files that a notebook can import: those in the root itself, in the
    packages there, and beside the notebooks. A copy of this package is not among them: kernels
    import the runner's.
    """
    found = [*root.glob("*.py"), *(root / "notebooks").rglob("*.py")]
    for start in root.glob("*/__init__.py"):
        if start.parent.name != LAB:
            found += start.parent.rglob("*.py")
    return sorted({p for p in found if p.is_file() and not _hidden(p.relative_to(root))})


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def lock_hash() -> str:
    """Hash of Python's version and of every installed distribution's name and version.

    All of them, not only what retention-lab needs: a notebook may import any. Names and
    versions are read off the ``*.dist-info`` folders, which costs milliseconds.
    """
    installed: set[str] = set()
    for folder in dict.fromkeys(sys.path):
        try:
            names = [p.name for p in Path(folder or ".").iterdir()]
        except OSError:
            continue
        installed.update(n for n in names if n.endswith((".dist-info", ".egg-info")))
    return _sha256(json.dumps([platform.python_version(), sorted(installed)]).encode())


def versions() -> dict[str, str]:
    """Versions of Python, the lab and the packages that its numbers rest on."""
    found = {"python": platform.python_version(), "retention_lab": _version("retention-lab")}
    found.update({name: _version(name) for name in PACKAGES})
    return {name: version for name, version in found.items() if version}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def git_state(root: Path) -> dict[str, Any]:
    """Commit and whether the work tree differs from it (untracked files count), read only.

    Both are None where `root` is no repository, or git is absent or slow.
    """
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "status"]
    command += ["--porcelain=v2", "--branch", "--untracked-files=normal"]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            check=True,
            text=True,
            errors="replace",
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    lines = done.stdout.splitlines()
    commit = next((x.split()[-1] for x in lines if x.startswith("# branch.oid ")), None)
    if commit is None or commit == "(initial)":
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": any(not x.startswith("#") for x in lines)}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
