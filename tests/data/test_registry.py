from __future__ import annotations

import re
from pathlib import Path

from retention_lab.data import registry as module
from retention_lab.data.registry import registry

FORMS = [(d, t, f) for d in registry().values() for t in d.tables for f in t.forms]


def test_the_four_public_datasets_and_the_twin_are_registered():
    names = ["hillstrom", "online-retail", "cdnow", "complete-journey", "twin", "twin-returns"]
    made = ["twin-winback", "twin-redeemed", "twin-dose", "twin-forward"]
    assert list(registry()) == [*names, *made, "twin-rollout", "twin-threshold"]


def test_every_dataset_says_where_it_is_from_and_what_one_may_do_with_it():
    for dataset in registry().values():
        assert dataset.title
        assert dataset.licence
        assert dataset.citation
        assert dataset.tables
        assert dataset.made or dataset.source


def test_every_raw_file_has_a_digest_and_a_way_to_be_had():
    for dataset, table, form in FORMS:
        assert re.fullmatch("[0-9a-f]{64}", form.sha256), (dataset.name, table.name)
        assert form.url or form.wheel or len(table.forms) > 1
        assert form.files


def test_downloads_are_pinned_to_a_commit():
    urls = [f.url for *_, f in FORMS if f.url]
    assert len(urls) == 2
    for url in urls:
        assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", url)


def test_no_address_of_a_package_registry():
    text = (Path(module.__file__).parent / "registry.yaml").read_text(encoding="utf-8")
    assert not re.search(r"pypi|pythonhosted|cran\.|npmjs", text, re.IGNORECASE)


def test_two_files_hold_the_same_table_of_online_retail():
    (table,) = registry()["online-retail"].tables
    assert [f.sha256[:8] for f in table.forms] == ["05f892cc", "d686c7ec"]
    assert [f.converts for f in table.forms] == [False, True]


def test_the_table_that_a_bare_name_means():
    defaults = {d.name: d.default for d in registry().values()}
    assert defaults == {
        "hillstrom": "customers",
        "online-retail": "lines",
        "cdnow": "transactions",
        "complete-journey": None,
        "twin": None,
        "twin-returns": None,
        "twin-winback": None,
        "twin-redeemed": None,
        "twin-dose": None,
        "twin-forward": None,
        "twin-rollout": "panel",
        "twin-threshold": "baskets",
    }
