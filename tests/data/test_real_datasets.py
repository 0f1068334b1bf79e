"""The real datasets hold what was published of them; skipped, saying how to get them, if absent."""

from __future__ import annotations

import duckdb
import pytest

from retention_lab.data import datasets
from retention_lab.data.datasets import DatasetMissingError, locate


def real(ref):
    """The real table, or a skip that says how to get it."""
    try:
        return locate(ref)
    except DatasetMissingError as error:
        pytest.skip(str(error))


def one(sql):
    return duckdb.sql(sql).fetchall()[0]


def test_hillstrom():
    path = real("hillstrom")
    assert one(f"select count(*), count(distinct treatment) from '{path}'") == (64_000, 3)


@pytest.mark.parametrize("ref", ["cdnow", "cdnow/transactions"])
def test_cdnow(ref, golden):
    path = real(ref)
    rows, customers, first, last = one(
        f"select count(*), count(distinct customer_id), min(date), max(date) from '{path}'"
    )
    assert rows == golden["cdnow"]["rows_master"] == 69_659
    assert customers == golden["cdnow"]["customers_master"] == 23_570
    assert (str(first), str(last)) == ("1997-01-01", "1998-06-30")


def test_the_sample_of_cdnow(golden):
    path = real("cdnow/sample")
    found = one(f"select count(*), count(distinct customer_id) from '{path}'")
    assert found == (golden["cdnow"]["rows_sample"], golden["cdnow"]["customers_sample"])


def test_online_retail(golden):
    expected = golden["online_retail"]
    path = real("online-retail")
    assert one(f"""
        select count(*), count(distinct CustomerID), count(*) - count(CustomerID),
            count(*) filter (Quantity < 0), count(distinct Country), count(distinct InvoiceNo),
            round(sum(Quantity * UnitPrice), 2)
        from '{path}'
    """) == tuple(
        expected[key]
        for key in (
            "rows",
            "customers",
            "null_customer",
            "neg_quantity",
            "countries",
            "invoices",
            "total_value",
        )
    )


def test_complete_journey(golden):
    expected = golden["complete_journey"]
    path = real("complete-journey/transactions")
    assert one(f"""
        select count(*), count(distinct household_id), count(distinct basket_id) from '{path}'
    """) == (expected["transactions"], expected["households"], expected["baskets"])
    path = real("complete-journey/campaigns")
    assert one(f"select count(*), count(distinct household_id) from '{path}'") == (
        expected["campaign_household_pairs"],
        expected["campaign_households"],
    )
    path = real("complete-journey/campaign_descriptions")
    assert one(f"select count(*) from '{path}'") == (expected["campaigns"],)
    path = real("complete-journey/coupon_redemptions")
    assert one(f"select count(*), count(distinct household_id) from '{path}'") == (
        expected["redemptions"],
        expected["redeeming_households"],
    )


@pytest.mark.parametrize("ref", ["demographics", "products", "promotions", "coupons"])
def test_the_other_tables_of_the_complete_journey(ref):
    path = real(f"complete-journey/{ref}")
    tables = {t.name: t for t in datasets.registry()["complete-journey"].tables}
    assert one(f"select count(*) from '{path}'") == (tables[ref].rows,)


def test_households_on_the_day_on_which_campaign_18_began(golden):
    """The table that is made of the others says nothing of what came after that day."""
    path = real("complete-journey/campaign_18")
    lines, mailed = (real(f"complete-journey/{t}") for t in ("transactions", "campaigns"))
    households, in_campaign, used = one(
        f"select count(*), count(*) filter (arm = 'campaign'), sum(redeemed) from '{path}'"
    )
    assert households == golden["complete_journey"]["households"]
    (expected,) = one(f"select count(distinct household_id) from '{mailed}' where campaign_id = 18")
    assert in_campaign == expected
    redeemed = one(
        "select count(distinct household_id), min(redemption_date)::date::text from "
        f"'{real('complete-journey/coupon_redemptions')}' where campaign_id = 18"
    )
    assert used == redeemed[0]
    assert redeemed[1] >= "2017-10-30"
    before = f"from '{lines}' where transaction_timestamp < timestamp '2017-10-30'"
    visits = one(f"select count(distinct basket_id), round(sum(coupon_disc), 2) {before}")
    assert one(f"select sum(visits), round(sum(coupon_discounts), 2) from '{path}'") == visits
