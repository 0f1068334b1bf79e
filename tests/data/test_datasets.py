"""Datasets by name: where they are looked for, wrong files, failed downloads, what is at hand."""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import socket
import subprocess
import sys
import threading
import time

import duckdb
import pytest

from retention_lab.data import datasets
from retention_lab.data.datasets import DatasetMissingError, describe, locate, status
from retention_lab.data.registry import Dataset, Form, Table, Text, Wheel, registry
from retention_lab.errors import DataError

RAW = b"1 2\n3 4\n"
TEXT = Text(0, (("a", "integer"), ("b", "integer")))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dataset(*forms, name="toy", **more):
    entry = {
        "title": "A toy",
        "licence": "CC0",
        "citation": "Nobody",
        "source": "https://example.org",
        "tables": (Table("rows", None, forms),),
        "default": "rows",
        "made": False,
        **more,
    }
    return Dataset(name=name, **entry)


@pytest.fixture
def register(monkeypatch):
    def _register(*entries):
        monkeypatch.setattr(datasets, "registry", lambda: {e.name: e for e in entries})

    return _register


@pytest.fixture
def wheel(home, monkeypatch):
    """A package with a data file that fails when it is imported."""
    package = home / "site" / "toywheel"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "toy.txt").write_bytes(RAW)
    monkeypatch.syspath_prepend(str(package.parent))
    return Wheel("toy-wheel", "toywheel", "data/toy.txt")


@pytest.fixture
def server(home, monkeypatch):
    """A web server on this machine; its log of asked paths, and its address."""
    monkeypatch.delenv("RETENTION_LAB_OFFLINE")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    web = home / "web"
    web.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(web))
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield web, f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


# Names


def test_an_unknown_name_gets_the_nearest_known():
    with pytest.raises(DataError, match="no dataset 'hilstrom'; did you mean 'hillstrom'"):
        locate("hilstrom")
    with pytest.raises(DataError, match="the lab knows hillstrom, online-retail"):
        locate("x")


def test_an_unknown_table_gets_the_nearest_known():
    with pytest.raises(DataError, match="no table 'order'; did you mean 'orders'"):
        locate("twin/order")
    with pytest.raises(DataError, match="it holds customers, assignments"):
        locate("twin/zzz")


def test_a_bare_name_of_several_tables_lists_them():
    with pytest.raises(DataError, match="write one of twin/customers, twin/assignments"):
        locate("twin")


# The search order


def test_folder_then_cache_then_wheel_then_download(home, register, wheel, server):
    web, url, asked = server
    form = Form(("toy.txt",), sha(RAW), url=f"{url}/toy.txt", wheel=wheel)
    register(dataset(form))
    (web / "toy.txt").write_bytes(RAW)
    kept = home / "cache" / "datasets" / "toy" / "toy.txt"
    kept.parent.mkdir(parents=True)
    for path in (home / "data" / "toy.txt", kept):
        path.write_bytes(RAW)
    in_wheel = home / "site" / "toywheel" / "data" / "toy.txt"
    places = {"folder": home / "data" / "toy.txt", "cache": kept, "wheel": in_wheel}
    for place, path in places.items():
        assert locate("toy") == path
        assert (describe("toy").found_in, describe("toy").path) == (place, path)
        path.unlink()
    assert asked == []
    assert describe("toy").found_in == "download"
    assert locate("toy") == kept
    assert asked == ["/toy.txt"]
    assert kept.read_bytes() == RAW
    assert describe("toy").found_in == "cache"


def test_every_registered_name_of_a_file_is_known(home, register):
    register(dataset(Form(("a.csv", "B.csv"), sha(RAW))))
    (home / "data" / "B.csv").write_bytes(RAW)
    assert locate("toy").name == "B.csv"


def test_another_form_of_the_same_table_will_do(home, register):
    register(dataset(Form(("a.parquet",), sha(b"x")), Form(("b.csv",), sha(RAW))))
    (home / "data" / "b.csv").write_bytes(RAW)
    assert locate("toy").name == "b.csv"


def test_no_folder_is_needed(home, register, wheel, monkeypatch):
    monkeypatch.delenv("RETENTION_LAB_DATA")
    register(dataset(Form(("toy.txt",), sha(RAW), wheel=wheel)))
    assert locate("toy").read_bytes() == RAW


def test_a_folder_that_is_not_there_is_said(home, register, monkeypatch):
    monkeypatch.setenv("RETENTION_LAB_DATA", str(home / "nowhere"))
    register(dataset(Form(("toy.txt",), sha(RAW))))
    with pytest.raises(
        DataError, match=r"RETENTION_LAB_DATA names .*nowhere, which is not a folder"
    ):
        locate("toy")
    assert "not a folder" in describe("toy").how_to_get


def test_a_wheel_is_looked_into_but_not_imported(home, register, wheel):
    register(dataset(Form(("toy.txt",), sha(RAW), wheel=wheel)))
    assert locate("toy").read_bytes() == RAW
    assert "toywheel" not in sys.modules


def test_a_package_without_the_file_is_not_it(home, register, wheel):
    elsewhere = wheel._replace(path="data/other.txt")
    absent = wheel._replace(module="no_such_package_at_all")
    for one in (elsewhere, absent):
        register(dataset(Form(("toy.txt",), sha(RAW), wheel=one)))
        with pytest.raises(DatasetMissingError, match=r"pip install toy-wheel, or put toy\.txt"):
            locate("toy")


# Wrong files


@pytest.mark.parametrize("place", ["folder", "cache", "wheel"])
def test_a_wrong_file_is_an_error_wherever_it_is(home, register, wheel, place):
    form = Form(("toy.txt",), sha(b"right"), wheel=wheel)
    register(dataset(form))
    if place != "wheel":
        folders = {"folder": home / "data", "cache": home / "cache" / "datasets" / "toy"}
        folders[place].mkdir(parents=True, exist_ok=True)
        (folders[place] / "toy.txt").write_bytes(RAW)
    with pytest.raises(DataError, match=f"expected sha256 {sha(b'right')}, found {sha(RAW)}"):
        locate("toy")
    found = describe("toy")
    assert found.found_in is None
    assert sha(b"right") in found.how_to_get


def test_a_wrong_file_from_the_web_is_not_kept(home, register, server):
    web, url, _ = server
    (web / "toy.txt").write_bytes(RAW)
    register(dataset(Form(("toy.txt",), sha(b"right"), url=f"{url}/toy.txt")))
    with pytest.raises(DatasetMissingError, match=sha(RAW)):
        locate("toy")
    assert not any(p.is_file() for p in (home / "cache").rglob("*"))


# Downloads that fail


def test_offline_says_what_to_put_where(home, register):
    register(dataset(Form(("toy.txt",), sha(RAW), url="http://example.invalid/toy.txt")))
    with pytest.raises(DatasetMissingError) as error:
        locate("toy")
    for part in (
        "dataset 'toy' (rows) is not at hand",
        "RETENTION_LAB_OFFLINE forbids downloads",
        "put toy.txt (from http://example.invalid/toy.txt) into the folder that "
        "RETENTION_LAB_DATA names",
    ):
        assert part in str(error.value)
    assert describe("toy").found_in is None
    assert "put toy.txt" in describe("toy").how_to_get


def test_offline_can_be_taken_back(home, register, monkeypatch):
    register(dataset(Form(("toy.txt",), sha(RAW), url="http://example.invalid/toy.txt")))
    monkeypatch.setenv("RETENTION_LAB_OFFLINE", "0")
    assert describe("toy").found_in == "download"


def test_an_absent_page_is_said(register, server):
    _, url, _ = server
    register(dataset(Form(("toy.txt",), sha(RAW), url=f"{url}/nothing.txt")))
    with pytest.raises(DatasetMissingError, match=r"404.*put toy\.txt"):
        locate("toy")


def test_no_server_is_said_at_once(register, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    register(dataset(Form(("toy.txt",), sha(RAW), url=f"http://127.0.0.1:{port}/toy.txt")))
    start = time.monotonic()
    with pytest.raises(DatasetMissingError, match=r"no answer from 127\.0\.0\.1"):
        locate("toy")
    assert time.monotonic() - start < 5


def test_a_silent_server_does_not_hang_the_lab(register, server, monkeypatch):
    monkeypatch.setattr(datasets, "TIMEOUT", (0.5, 0.5))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        register(dataset(Form(("toy.txt",), sha(RAW), url=f"http://127.0.0.1:{port}/toy.txt")))
        start = time.monotonic()
        with pytest.raises(DatasetMissingError, match=r"no answer from 127\.0\.0\.1"):
            locate("toy")
        assert time.monotonic() - start < 5


def test_the_waiting_times_are_short():
    assert sum(datasets.TIMEOUT) <= 30


# What has to be turned into Parquet


def test_text_is_converted_once(home, register, wheel, monkeypatch):
    register(dataset(Form(("toy.txt",), sha(RAW), wheel=wheel, text=TEXT)))
    path = locate("toy")
    assert path == home / "cache" / "datasets" / "toy" / f"rows-{sha(RAW)[:16]}.parquet"
    assert duckdb.sql(f"from '{path}'").fetchall() == [(1, 2), (3, 4)]
    monkeypatch.setattr(datasets.raw, "to_parquet", None)  # a second conversion would fail
    assert locate("toy") == path
    shutil.rmtree(home / "site")
    assert locate("toy") == path  # the cache holds it, wheel or not
    assert describe("toy").found_in == "cache"


def test_a_csv_file_is_converted_with_the_types_of_all_its_rows(home, register):
    content = b"a,b\n" + b"1,x\n" * 30_000 + b"0.4,\n"
    register(dataset(Form(("toy.csv",), sha(content), csv=True)))
    (home / "data" / "toy.csv").write_bytes(content)
    path = locate("toy")
    assert path.suffix == ".parquet"
    found = duckdb.sql(f"select min(a), max(a), count(*), count(b) from '{path}'").fetchall()[0]
    assert found == (0.4, 1.0, 30_001, 30_000)


def test_a_cache_that_cannot_be_written_is_said(home, register, wheel, monkeypatch):
    (home / "file").write_text("")
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(home / "file" / "below"))
    toy = dataset(Form(("toy.txt",), sha(RAW), wheel=wheel, text=TEXT))
    register(toy, registry()["twin"])
    with pytest.raises(DataError, match="RETENTION_LAB_CACHE"):
        locate("toy")
    with pytest.raises(DataError, match="RETENTION_LAB_CACHE"):
        datasets._twin()


# Status


def test_status_covers_every_dataset_and_brings_nothing(home):
    found = {s.name: s for s in status()}
    assert list(found)[:4] == ["hillstrom", "online-retail", "cdnow", "complete-journey"]
    assert list(found)[4:7] == ["twin", "twin-returns", "twin-winback"]
    assert list(found) == list(registry())
    assert found["hillstrom"].found_in is None
    assert "hillstrom.csv" in found["hillstrom"].how_to_get
    assert found["online-retail"].licence == "CC0"
    assert found["complete-journey"].tables[0] == "transactions"
    assert (found["twin"].found_in, found["twin"].path) == ("made", None)
    assert not (home / "cache" / "datasets").exists()
    assert not (home / "cache" / "twin").exists()


def test_a_dataset_with_half_of_its_tables_is_not_at_hand(home, register):
    tables = tuple(Table(n, None, (Form((f"{n}.txt",), sha(RAW)),)) for n in ("a", "b"))
    register(dataset(tables=tables, default=None))
    (home / "data" / "a.txt").write_bytes(RAW)
    assert describe("toy").found_in is None
    (home / "data" / "b.txt").write_bytes(RAW)
    assert describe("toy").found_in == "folder"


def test_describe_takes_a_table_too():
    assert describe("twin/orders").name == "twin"
    with pytest.raises(DataError, match="did you mean 'cdnow'"):
        describe("cdno")


# Cost


def test_locating_imports_nothing_heavy(home):
    code = """
import sys, time
from retention_lab.data.datasets import locate, status
locate("twin/assignments")
status()
heavy = ("numpy", "pandas", "pyarrow", "pooch", "requests", "duckdb")
print([m for m in heavy if m in sys.modules])
start = time.perf_counter()
for table in ("assignments", "orders", "unsubscribes"):
    locate("twin/" + table)
print(time.perf_counter() - start)
"""
    run = [sys.executable, "-c", code]
    subprocess.run(run, check=True, capture_output=True)  # makes the shop
    lines = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0] == "[]"
    assert float(lines[1]) < 0.02


def test_a_table_made_of_others_is_made_once_and_anew_where_its_select_changes(home, register):
    content = b"id,x\n1,2\n1,3\n2,5\n"
    (home / "data" / "sales.csv").write_bytes(content)
    sales = Table("sales", 3, (Form(("sales.csv",), sha(content)),))

    def made(select):
        register(dataset(tables=(sales, Table("sums", 2, (), select)), default=None))
        return locate("toy/sums")

    path = made("select id, sum(x) as x from sales group by id order by id")
    assert duckdb.sql(f"from '{path}'").fetchall() == [(1, 5), (2, 5)]
    assert made("select id, sum(x) as x from sales group by id order by id") == path
    assert made("select count(*) as n from sales") != path
    assert status()[0].found_in == "folder"
