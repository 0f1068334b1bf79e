"""Simulated customers in; rows of the result table on when they come back, for tests, out.

The numbers are plausible, not golden: the report only shows them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retention_lab.results import Row

Z = 1.959963984540054
FIRST, LAST = dt.date(2025, 1, 1), dt.date(2026, 1, 15)
DAYS = (LAST - FIRST).days
SALE = (dt.date(2025, 10, 20), dt.date(2025, 10, 31))
MILESTONES = (30, 90, 180, 365)
MARKETS = {"United Kingdom": 0.58, "Germany": 0.27, "Spain": 0.15}
AGES = tuple(f"{30 * i}-{30 * i + 29}" for i in range(12))
MIN_CELL = 20
Floats = NDArray[np.float64]
Place = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class People:
    """Customers: day of entry, days observed, market, day of the next order and of a refund."""

    entry: Floats
    seen: Floats
    market: NDArray[np.str_]
    sale: NDArray[np.bool_]
    back: Floats
    refund: Floats
    orders: tuple[Floats, ...]

    def of(self, mask: NDArray[np.bool_]) -> People:
        kept = (getattr(self, f.name)[mask] for f in dataclasses.fields(self)[:-1])
        return People(*kept, tuple(o[mask[: len(o)]] for o in self.orders))

    @property
    def stop(self) -> Floats:
        return np.minimum(self.back, self.seen)

    @property
    def event(self) -> NDArray[np.bool_]:
        return self.back <= self.seen


@functools.cache
def people(n: int = 9000, seed: int = 20260115) -> People:
    """Customers with a steep start: who comes back at all mostly does so in the first month."""
    rng = np.random.default_rng(seed)
    entry = np.floor(rng.uniform(0, DAYS - 5, n))
    won = rng.uniform(size=n) < 0.16
    start, end = ((day - FIRST).days for day in SALE)
    entry[won] = rng.integers(start, end + 1, int(won.sum()))
    sale = (entry >= start) & (entry <= end)
    market = rng.choice(list(MARKETS), n, p=list(MARKETS.values()))
    slow = np.where(sale, 1.9, 1.0) * np.select(
        [market == "Germany", market == "Spain"], [0.8, 1.5]
    )
    slow = np.where(slow == 0, np.where(sale, 1.9, 1.0), slow)
    back = np.ceil(75 * slow * rng.weibull(0.7, n))
    back[rng.uniform(size=n) < np.where(sale, 0.42, 0.25)] = np.inf
    refund = np.where(rng.uniform(size=n) < 0.08, np.ceil(rng.exponential(16, n)), np.inf)
    later = [back]
    for _ in range(5):
        later.append(later[-1] + np.ceil(130 * slow * rng.weibull(0.8, n)))
    return People(entry, DAYS - entry, market, sale, back, refund, tuple(later))


def kaplan_meier(stop: Floats, event: NDArray[np.bool_]) -> Iterator[tuple[int, float, float, int]]:
    """(day, share without the event, Greenwood's sum, at risk just before) of days with events."""
    share, total = 1.0, 0.0
    for day in np.unique(stop[event]):
        n, d = int((stop >= day).sum()), int((event & (stop == day)).sum())
        share *= 1 - d / n
        total += d / (n * (n - d)) if n > d else 0.0
        yield int(day), share, total, n


def curve(place: Place, who: People, last: int = 365) -> list[Row]:
    rows = []
    for day, s, g, n in kaplan_meier(who.stop, who.event):
        if day > last or n < MIN_CELL or s <= 0:
            break
        half = Z * math.sqrt(g) / abs(math.log(s)) if s < 1 else 0.0
        ends = sorted(s ** math.exp(x * half) for x in (-1, 1))
        row = {"estimate": s, "std_error": s * math.sqrt(g), "ci_low": ends[0], "ci_high": ends[1]}
        rows.append(Row(**place, estimand="survival", at=str(day), n=n, **row, method=KM))
    return rows


KM = "Kaplan-Meier, log-log interval"


def share_at(who: People, day: int) -> tuple[float, float]:
    """Share without the event on `day`, with its standard error."""
    s, g = 1.0, 0.0
    for at, share, total, _ in kaplan_meier(who.stop, who.event):
        if at > day:
            break
        s, g = share, total
    return s, s * math.sqrt(g)


def mean_days(who: People, tau: int) -> tuple[float, float]:
    """Mean days without the event up to `tau`, with a rough standard error."""
    s = np.ones(tau)
    for at, share, _, _ in kaplan_meier(who.stop, who.event):
        s[min(at, tau) :] = share
    spread = math.sqrt(max(2 * float((np.arange(tau) * s).sum()) - float(s.sum()) ** 2, 0.0))
    return float(s.sum()), spread / math.sqrt(len(who.stop))


def normal(estimate: float, se: float) -> Place:
    p = math.erfc(abs(estimate) / se / math.sqrt(2)) if se else 1.0
    return {
        "estimate": estimate,
        "std_error": se,
        "ci_low": estimate - Z * se,
        "ci_high": estimate + Z * se,
        "p_value": p,
    }


def level(estimate: float, se: float) -> Place:
    return {k: v for k, v in normal(estimate, se).items() if k != "p_value"}


def binomial(k: int, n: int) -> Place:
    """A share with Wilson's interval."""
    p, z2 = k / n, Z * Z
    middle, half = p + z2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    return {"estimate": p, "ci_low": max(0.0, low), "ci_high": min(1.0, high), "n": n}


def hazard(place: Place, who: People, last: int = 182) -> list[Row]:
    rows = []
    for low in range(1, last, 7):
        days = range(low, low + 7)
        risk = sum(int((who.stop >= d).sum()) for d in days)
        events = int((who.event & (who.stop >= low) & (who.stop < low + 7)).sum())
        if risk:
            at = f"{low}-{low + 6}"
            share = {**binomial(events, risk), "n": int((who.stop >= low).sum())}
            rows.append(Row(**place, estimand="hazard", at=at, **share, method="Wilson"))
    return rows


def incidence(place: Place, who: People) -> list[Row]:
    """What came first: an order, a refund, or neither yet."""
    first = np.minimum(np.minimum(who.back, who.refund), who.seen)
    ordered = who.event & (who.back <= who.refund)
    refunded = ~ordered & (who.refund <= who.seen)
    free, sums, rows = 1.0, [0.0, 0.0], []
    for day in np.unique(first[ordered | refunded]):
        n = int((first >= day).sum())
        if day > 365 or n < MIN_CELL:
            break
        counts = [int((kind & (first == day)).sum()) for kind in (ordered, refunded)]
        sums = [total + free * d / n for total, d in zip(sums, counts, strict=True)]
        free *= 1 - sum(counts) / n
        for cause, value in zip(("orders", "refunds"), sums, strict=True):
            se = math.sqrt(value * (1 - value) / n)
            ends = {"ci_low": max(0.0, value - Z * se), "ci_high": min(1.0, value + Z * se)}
            said = {"estimate": value, "std_error": se, **ends, "n": n, "method": "Aalen-Johansen"}
            rows.append(
                Row(**place, estimand="cumulative_incidence", at=str(int(day)), term=cause, **said)
            )
    return rows


def repeats(place: Place, who: People) -> list[Row]:
    total, rows = 0.0, []
    every = np.concatenate(who.orders)
    seen = np.concatenate([who.seen] * len(who.orders))
    for day in range(1, 366):
        n = int((who.seen >= day).sum())
        if n < MIN_CELL:
            break
        total += float(((every == day) & (every <= seen)).sum()) / n
        if day % 5 == 0:
            row = {**level(total, 1.3 * math.sqrt(total / n)), "n": n, "method": "robust"}
            rows.append(Row(**place, estimand="mean_cumulative", at=str(day), **row))
    return rows


def retention(place: Place, who: People, term: str, ages: Iterable[str]) -> list[Row]:
    rows = []
    for age in ages:
        low, _, high = age.partition("-")
        end = int(high or low)
        old = who.seen >= end
        n = int(old.sum())
        base: Place = {**place, "estimand": "retention", "at": age, "term": term}
        if len(who.seen) < MIN_CELL or 0 < n < MIN_CELL:
            rows.append(Row(**base, note=f"suppressed: fewer than {MIN_CELL} customers"))
        elif not n:
            rows.append(Row(**base, note=f"immature: no customer has reached day {end} yet"))
        else:
            active = np.zeros(n, dtype=bool)
            for times in who.orders:
                t = times[old]
                reach = t <= who.seen[old]
                active |= reach & (t >= int(low)) & ((t <= end) | (term == "unbounded"))
            rows.append(Row(**base, **binomial(int(active.sum()), n)))
    return rows


def revenue(who: People) -> list[Row]:
    rows = []
    for i in range(12):
        start = (dt.date(2025, i + 1, 1) - FIRST).days
        end = start + 30
        new = int(((who.entry >= start) & (who.entry < end)).sum())
        again = sum(
            int(((who.entry + t >= start) & (who.entry + t < end)).sum()) for t in who.orders
        )
        share = again / (new + again)
        se = math.sqrt(share * (1 - share) / (new + again))
        at = f"2025-{i + 1:02d}"
        place = {"analysis": "survival", "metric": "orders", "at": at, "n": new + again}
        rows.append(Row(**place, estimand="returning_revenue_share", **level(share, se)))
    return rows


def described(place: Place, who: People, *, long: bool = True) -> list[Row]:
    """The rows that every group has."""
    n = len(who.stop)
    rows = [Row(**place, estimand="customers", estimate=n, n=n)]
    rows += curve(place, who) + repeats(place, who) if long else []
    for q in (0.25, 0.5) if long else ():
        found = [r for r in rows if r.estimand == "survival" and 1 - (r.estimate or 0) >= q]
        note = None if found else "not_reached: fewer have come back within the time observed"
        at = None if not found else float(found[0].at or 0)
        rows.append(Row(**place, estimand="survival_quantile", term=f"{q}", estimate=at, note=note))
    for tau in (90,) if long else ():
        rows.append(Row(**place, estimand="rmst", at=str(tau), **level(*mean_days(who, tau)), n=n))
    return rows


def against(place: Place, who: People, base: People) -> list[Row]:
    """The rows that compare a group with the reference."""
    sizes = {"n": len(who.stop), "n_baseline": len(base.stop)}
    rows = []
    for day in MILESTONES[:2] if who.seen.max() < 180 else MILESTONES[:3]:
        (a, u), (b, v) = share_at(who, day), share_at(base, day)
        found = normal(a - b, math.hypot(u, v))
        rows.append(Row(**place, **sizes, estimand="survival_difference", at=str(day), **found))
    (a, u), (b, v) = mean_days(who, 90), mean_days(base, 90)
    found = normal(a - b, math.hypot(u, v))
    rows.append(Row(**place, **sizes, estimand="rmst_difference", at="90", **found))
    se = a / b * math.hypot(u / a, v / b)
    ratio = {**normal(a / b, se), "p_value": found["p_value"]}
    rows.append(Row(**place, **sizes, estimand="rmst_ratio", at="90", **ratio))
    for day in (30, 90):
        means = [sum(float((t <= day).sum()) for t in x.orders) / len(x.stop) for x in (who, base)]
        se = math.sqrt(means[0] / len(who.stop) + means[1] / len(base.stop))
        found = normal(means[0] - means[1], se)
        rows.append(
            Row(**place, **sizes, estimand="mean_cumulative_difference", at=str(day), **found)
        )
    return rows


def model(place: Place, terms: dict[str, tuple[float, float]], skewed: str = "") -> list[Row]:
    rows = []
    for term, (log_ratio, se) in terms.items():
        arm = {"arm": term.removeprefix("arm="), "baseline": "none"} if "arm=" in term else {}
        method = "Cox, Efron ties, robust error"
        where = {**place, **arm, "term": term, "method": method}
        rows.append(Row(**where, estimand="log_hazard_ratio", **normal(log_ratio, se)))
        odd = term == skewed
        test = {"estimate": 14.2 if odd else 0.8, "p_value": 1.6e-4 if odd else 0.37}
        rows.append(Row(**where, estimand="proportionality", **test))
    whole = {"estimate": 16.0, "p_value": 0.003} if skewed else {"estimate": 2.1, "p_value": 0.55}
    rows.append(Row(**place, estimand="proportionality", term="global", **whole))
    rows.append(Row(**place, estimand="concordance", **level(0.57, 0.005)))
    return rows


BASE: Place = {"analysis": "survival", "metric": "orders"}


def row(estimand: str, estimate: float | None = None, **more: Any) -> Row:
    return Row(**{**BASE, **more}, estimand=estimand, estimate=estimate)
