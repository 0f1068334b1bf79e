"""Hashes change with what they stand for, and with nothing else; git and versions are told."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import project
import pytest

from retention_lab.errors import DataError
from retention_lab.experiment.plan import make_plan
from retention_lab.run import provenance
from retention_lab.run.provenance import (
    code_hash,
    file_digest,
    git_state,
    key_of,
    lock_hash,
    of_plan,
    spec_hash,
    table_digest,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(tmp_path / "cache"))


def old(path: Path, content: bytes, age: float = 60.0) -> Path:
    """A file last changed `age` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = time.time_ns() - int(age * 1e9)
    os.utime(path, ns=(then, then))
    return path


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose bytes are hashed from now on."""
    seen: list[str] = []
    digest = hashlib.file_digest

    def counted(file: object, name: str) -> object:
        seen.append(file.name)  # type: ignore[attr-defined]
        return digest(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(provenance.hashlib, "file_digest", counted)
    return seen


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = old(tmp_path / "a.csv", b"x,y\n1,2\n")
    assert file_digest(path) == hashlib.sha256(b"x,y\n1,2\n").hexdigest()


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old(tmp_path / "a.csv", b"1")
    seen = reads(monkeypatch)
    assert file_digest(path) == file_digest(path)
    assert seen == [str(path)]


@pytest.mark.parametrize("change", ["size", "time", "content under the old time"])
def test_a_changed_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = old(tmp_path / "a.csv", b"1")
    before, times = file_digest(path), path.stat()
    if change == "size":
        path.write_bytes(b"12")
    elif change == "time":
        os.utime(path, ns=(times.st_mtime_ns + 1, times.st_mtime_ns + 1))
    else:
        path.write_bytes(b"2")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen = reads(monkeypatch)
    assert (file_digest(path) == before) is (change == "time")
    assert seen == [str(path)]


def test_a_file_that_may_still_be_changing_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old(tmp_path / "a.csv", b"1", age=0)
    seen = reads(monkeypatch)
    file_digest(path)
    file_digest(path)
    assert len(seen) == 2


@pytest.mark.parametrize("broken", ["{", "[]", '{"seen": 1}'])
def test_a_broken_cache_costs_time_only(tmp_path: Path, broken: str) -> None:
    path = old(tmp_path / "a.csv", b"1")
    digest = file_digest(path)
    (note,) = (tmp_path / "cache" / "digests").iterdir()
    note.write_text(broken)
    assert file_digest(path) == digest


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(tmp_path / "file", b"")
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(tmp_path / "file"))
    assert file_digest(old(tmp_path / "a.csv", b"1")) == hashlib.sha256(b"1").hexdigest()


def test_a_single_file_may_move(tmp_path: Path) -> None:
    a = table_digest("units", "a", [old(tmp_path / "a.csv", b"1")])
    b = table_digest("units", "a", [old(tmp_path / "deep" / "b.csv", b"1")])
    assert a == b
    assert a["bytes"] == 1


def test_a_glob_counts_every_member_whatever_the_order(tmp_path: Path) -> None:
    paths = [old(tmp_path / "d" / f"{n}.csv", n.encode()) for n in "abc"]
    whole = table_digest("units", "d/*.csv", paths)
    assert table_digest("units", "d/*.csv", reversed(paths)) == whole
    assert whole["bytes"] == 3
    assert table_digest("units", "d/*.csv", paths[:2])["digest"] != whole["digest"]
    old(tmp_path / "d" / "c.csv", b"C")
    assert table_digest("units", "d/*.csv", paths)["digest"] != whole["digest"]


def test_a_partition_counts_by_its_name(tmp_path: Path) -> None:
    before = [old(tmp_path / f"region={r}" / "x.csv", b"1") for r in ("de", "fr")]
    after = [old(tmp_path / f"region={r}" / "x.csv", b"1") for r in ("de", "it")]
    assert table_digest("u", "", before)["digest"] != table_digest("u", "", after)["digest"]


def test_the_log_beside_a_database_counts(tmp_path: Path) -> None:
    path = old(tmp_path / "shop.duckdb", b"1")
    before = table_digest("units", "table:u", [path])["digest"]
    old(tmp_path / "shop.duckdb.wal", b"2")
    assert table_digest("units", "table:u", [path])["digest"] != before


def test_a_table_without_files_is_never_the_same(tmp_path: Path) -> None:
    told = table_digest("units", "table:u", [])
    assert told == {"name": "units", "ref": "table:u", "digest": None, "bytes": None}
    assert provenance.data_hash([told]) is None
    assert key_of({"spec": "1", "notebook": "1", "data": None, "lock": "1", "code": "1"}) is None


def test_a_file_that_went_away_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"orders: .*gone\.csv cannot be read"):
        table_digest("orders", "gone.csv", [tmp_path / "gone.csv"])


def test_the_file_and_what_is_set_count(tmp_path: Path) -> None:
    path = old(tmp_path / "one.yaml", b"schema: 1\n")
    hashes = {spec_hash(path, {}), spec_hash(path, {"a": "1"}), spec_hash(path, {"a": "2"})}
    assert len(hashes) == 3
    assert spec_hash(path, {}) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec_hash(path, {"a": 1, "b": 2}) == spec_hash(path, {"b": 2, "a": 1})


def install(folder: Path, name: str, version: str) -> None:
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)


def test_a_package_and_its_version_change_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    hashes = [lock_hash()]
    install(tmp_path / "site", "duckdb", "1.5.6")
    hashes += [lock_hash(), lock_hash()]
    (tmp_path / "site" / "duckdb-1.5.6.dist-info").rename(tmp_path / "site/duckdb-2.0.0.dist-info")
    hashes.append(lock_hash())
    assert hashes[1] == hashes[2]
    assert len(set(hashes)) == 3


def test_the_lock_sees_what_is_really_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lock_hash()
    site = Path(pytest.__file__).parents[1]
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p) != site])
    assert lock_hash() != before


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("1")
    git(folder, "add", "a.txt")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_tree_has_its_commit(repository: Path) -> None:
    assert git_state(repository) == {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize("name", ["a.txt", "new.txt"])
def test_a_change_or_a_new_file_makes_it_dirty(repository: Path, name: str) -> None:
    (repository / name).write_text("2")
    assert git_state(repository)["dirty"] is True


def test_git_is_only_read(repository: Path) -> None:
    index = repository / ".git" / "index"
    os.utime(repository / "a.txt", ns=(1, 1))  # stale times: a writing status would refresh them
    before = index.read_bytes()
    git_state(repository)
    assert index.read_bytes() == before


def test_no_repository_no_commit_or_no_git(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {"commit": None, "dirty": None}
    assert git_state(tmp_path) == unknown
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert git_state(empty) == unknown
    monkeypatch.setenv("PATH", str(empty))
    assert git_state(repository) == unknown


def test_a_git_that_hangs_is_not_waited_for(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.2)
    began = time.monotonic()
    assert git_state(repository)["commit"] is None
    assert time.monotonic() - began < 5


def test_a_plan_tells_everything(tmp_path: Path) -> None:
    (file,) = project.make(tmp_path, "one")
    told = of_plan(make_plan(file, {"inference.alpha": 0.1}))
    assert told["experiment"] == "one"
    assert told["overrides"] == {"inference.alpha": 0.1}
    assert [(i["name"], i["ref"]) for i in told["inputs"]] == [("units", "data/units.csv")]
    assert all(told["hashes"].values())
    assert told["key"]
    assert told["engine"] == "duckdb"
    assert {"python", "retention_lab", "duckdb", "mlflow"} <= set(told["versions"])


def test_a_duckdb_file_is_the_input_of_its_tables(tmp_path: Path) -> None:
    import duckdb

    (file,) = project.make(tmp_path, "one")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(f"create table units as from '{tmp_path}/data/units.csv'")
    text = file.read_text().replace("data/units.csv", "table:units")
    file.write_text(text.replace("data:\n", "data:\n  engine: {duckdb: shop.duckdb}\n"))
    told = of_plan(make_plan(file))
    assert told["engine"] == "duckdb"
    assert told["inputs"][0]["digest"] == file_digest(tmp_path / "shop.duckdb")


def test_a_changed_value_leaves_the_hash_of_the_file(tmp_path: Path) -> None:
    file = project.make(tmp_path, "one")[0]
    plain = of_plan(make_plan(file))["hashes"]
    changed = of_plan(make_plan(file, {"inference.alpha": "0.1"}))["hashes"]
    assert plain["file"] == plain["spec"] == changed["file"] == file_digest(file)
    assert changed["spec"] != plain["spec"]


def test_the_projects_modules_and_the_packages_files_are_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "retention_lab"
    monkeypatch.setattr(provenance, "__file__", str(package / "run" / "provenance.py"))
    root = tmp_path / "project"
    places = [
        package / "a.py",
        package / "texts" / "en.yaml",
        package / "run" / "templates" / "page.css",
        package / "run" / "templates" / "page.html.j2",
        root / "helpers.py",
        root / "notebooks" / "more.py",
        root / "shop" / "__init__.py",
        root / "shop" / "deep" / "sums.py",
    ]
    hashes = [code_hash(root)]
    for place in places:
        for content in (b"1", b"2"):
            old(place, content)
            hashes.append(code_hash(root))
    assert len(set(hashes)) == len(hashes) == 1 + 2 * len(places)


@pytest.mark.parametrize(
    "name",
    [
        "data/model.py",
        "shop.txt",
        "notebooks/.ipynb_checkpoints/more.py",
        ".venv/__init__.py",
        "retention_lab/__init__.py",
        "retention_lab/cli.py",
    ],
)
def test_what_a_kernel_does_not_import_is_not_code(tmp_path: Path, name: str) -> None:
    before = code_hash(tmp_path)
    old(tmp_path / name, b"1")
    assert code_hash(tmp_path) == before
