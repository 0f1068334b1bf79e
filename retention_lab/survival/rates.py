"""Sums over customers of repeated events in; rate ratios, errors clustered by customer, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.data.repeats import Repeats
from retention_lab.data.sums import Floats, Places
from retention_lab.survival.intervals import critical

ROUNDS = 30
CLOSE = 1e-11
STEEP = 25.0  # of a log rate ratio per standard deviation: beyond it there is no largest likelihood
CHUNK = 2**20

NO_EVENTS = "no_events: nothing has happened, so there are no rates to compare"
COLLINEAR = "collinear: {names} cannot be told apart from the others"
SEPARATED = (
    "separated: a group without any event, or covariates that tell the events from all else, so "
    "the rate ratio has no largest likelihood"
)
SAME_DAY = (
    "same_day: customers with several events on one day, so ties are Breslow's in place of Efron's"
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Log rate ratios of P covariates.

    `model_error` holds if each customer's events come as a Poisson process (Andersen and Gill
    1982), `std_error` however they depend on each other (Lin, Wei, Yang and Ying 2000); `low`,
    `high` and `p_value` rest on it, as does `covariance`, [P, P]. None where `note` says why.
    """

    names: tuple[str, ...]
    estimate: Floats
    std_error: Floats
    model_error: Floats
    low: Floats
    high: Floats
    p_value: Floats
    covariance: Floats
    log_likelihood: tuple[float, float]  # with all 0, and as estimated
    customers: int
    events: float
    ties: str
    note: str | None = None


def rates(
    repeats: Repeats,
    covariates: Sequence[str],
    strata: Sequence[str] = (),
    ties: str = "efron",
    alpha: float = 0.05,
    references: Mapping[str, str] | None = None,
) -> Rates:
    """Proportional rates: E dN_i(t) = exp(b x_i) dM(t) of customers at risk, a M for each stratum.

    `covariates` are keys of `repeats`: a number is used as it is, a text becomes an indicator
    of every level but the first, or but the one that `references` names. b is that of Andersen
    and Gill (1982), Annals of Statistics 10(4), 1100-1120; the variance A^-1 (sum of u_i u_i')
    A^-1 that of Lin, Wei, Yang and Ying (2000), JRSS B 62(4), 711-730, section 2.2, with u_i a
    customer's score residuals, added up over all of his days. For covariates that do not
    change, u_i is a sum of functions of his days alone, so that the meat is exact in the
    reduction. Ties: Efron's, with his residuals; where a customer has several events on a day,
    Breslow's (`note` says so). Raises KeyError for a key that is not there, ValueError for ties
    of another name or without covariates.
    """
    if ties not in ("efron", "breslow") or not covariates:
        raise ValueError("ties are 'efron' or 'breslow', of one covariate or more")
    rolled = repeats.by(*dict.fromkeys([*covariates, *strata]))
    names, x = _design(rolled, covariates, references or {})
    note = None
    if ties == "efron" and _several(rolled):
        ties, note = "breslow", SAME_DAY
    p = len(names)
    customers = int(rolled.customers.sum())
    _, _, _, count = rolled.rows("event")

    def none(why: str) -> Rates:
        x, square = np.full(p, np.nan), np.full((p, p), np.nan)
        both, events = (math.nan, math.nan), float(count.sum())
        return Rates(names, x, x, x, x, x, x, square, both, customers, events, ties, why)

    if not count.sum() > 0:
        return none(NO_EVENTS)
    weight = rolled.customers.astype(np.float64)
    centre = weight @ x / weight.sum()
    scale = np.sqrt(weight @ (x - centre) ** 2 / weight.sum())
    days = _Days.of(rolled, strata, (x - centre) / np.where(scale > 0, scale, 1.0))
    first = days.at(np.zeros(p), ties)
    alike = _collinear(first.information, names)
    if alike:
        return none(COLLINEAR.format(names=", ".join(repr(n) for n in alike)))
    found = _fitted(days, first, ties)
    if found is None:
        return none(SEPARATED)
    b, state = found
    inverse = np.linalg.inv(state.information)
    spread = inverse @ days.meat(rolled, b, state) @ inverse
    inverse, spread = (m / scale[:, None] / scale for m in (inverse, spread))
    estimate, error = b / scale, np.sqrt(np.diag(spread))
    half = critical(alpha) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2.0 * special.ndtr(-np.abs(estimate) / error)
    return Rates(
        names=names,
        estimate=estimate,
        std_error=error,
        model_error=np.sqrt(np.diag(inverse)),
        low=estimate - half,
        high=estimate + half,
        p_value=p_value,
        covariance=spread,
        log_likelihood=(first.log_likelihood, state.log_likelihood),
        customers=customers,
        events=float(count.sum()),
        ties=ties,
        note=note,
    )


def _design(
    r: Repeats, covariates: Sequence[str], references: Mapping[str, str]
) -> tuple[tuple[str, ...], Floats]:
    """The names of the model's columns, and their values by cell."""
    names: list[str] = []
    columns: list[Floats] = []
    for key in covariates:
        levels = r.levels[key]
        if levels.dtype.kind == "f":
            names.append(key)
            columns.append(levels.astype(np.float64))
            continue
        texts = [str(v) for v in levels]
        known = sorted(set(texts), key=lambda level: (level != references.get(key), level))
        for level in known[1:]:
            names.append(f"{key}={level}")
            columns.append(np.array([t == level for t in texts], np.float64))
    return tuple(names), np.column_stack(columns) if columns else np.zeros((r.cells, 0))


def _several(r: Repeats) -> bool:
    """Whether a customer has anything but 0 or 1 events on a day."""
    cell, day, _, count = r.rows("event")
    at, one, two, square = r.rows("event event")
    same = one == two
    kept = np.lexsort((one[same], at[same]))
    order = np.lexsort((day, cell))
    return not np.array_equal(square[same][kept], count[order])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _State:
    """The likelihood and its derivatives at one b; what residuals need by time, [T] and [T, P]."""

    log_likelihood: float
    score: Floats
    information: Floats
    mean: Floats  # of x over those at risk, over the ties
    hazard: Floats  # summed up to the time, in its stratum
    moved: Floats  # the same, times the mean of x
    tied: Floats  # what Efron's ties take off at the time
    tied_mean: Floats


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """Counts by stratum and time: T of them in all, sorted by stratum, then time."""

    x: Floats  # [C, P]
    begin: Places  # the first time of each stratum
    day: Floats
    stratum: Places
    of_cell: Places
    event: tuple[Places, Places, Floats]  # cell, place, count
    mark: tuple[Places, Places, Floats]

    @classmethod
    def of(cls, r: Repeats, strata: Sequence[str], x: Floats) -> _Days:
        texts = [r.levels[k] for k in strata]
        labels = [tuple(str(t[i]) for t in texts) for i in range(r.cells)]
        number = {label: i for i, label in enumerate(sorted(set(labels)))}
        of_cell = np.array([number[label] for label in labels], np.intp)
        cell, day, _, count = r.rows("event")
        times = np.unique(np.column_stack([of_cell[cell], day]), axis=0)
        stratum = times[:, 0].astype(np.intp)
        begin = np.searchsorted(stratum, np.arange(len(number)))
        empty = np.zeros(0, np.intp)
        none = (empty, empty, np.zeros(0))
        days = cls(x, begin, times[:, 1], stratum, of_cell, none, none)
        at, mark, _, sign = r.rows("mark")
        where = days.place(at, mark)
        kept = where >= 0
        happened = (cell, days.place(cell, day), count)
        left = (at[kept], where[kept], sign[kept])
        return dataclasses.replace(days, event=happened, mark=left)

    def place(self, cell: Places, day: Floats) -> Places:
        """The last time of the cell's stratum that is not after `day`; -1 where there is none."""
        out = np.full(len(cell), -1, np.intp)
        ends = np.append(self.begin[1:], len(self.day))
        stratum = self.of_cell[cell]
        for i, (first, end) in enumerate(zip(self.begin, ends, strict=True)):
            mine = stratum == i
            found = first + np.searchsorted(self.day[first:end], day[mine], side="right") - 1
            out[mine] = np.where(found >= first, found, -1)
        return out

    def later(self, table: Floats) -> Floats:
        """Sums over this and later times of the stratum."""
        return self._cumulative(table, back=True)

    def _cumulative(self, table: Floats, back: bool = False) -> Floats:
        out = np.empty_like(table)
        for first, end in zip(self.begin, np.append(self.begin[1:], len(table)), strict=True):
            part = table[first:end]
            summed = np.cumsum(part[::-1], axis=0)[::-1] if back else np.cumsum(part, axis=0)
            out[first:end] = summed
        return out

    def sums(self, rows: tuple[Places, Places, Floats], b: Floats) -> tuple[Floats, ...]:
        """By time the sums of count exp(b x), of that times x, and of that times x x'."""
        cell, place, count = rows
        risk = np.exp(self.x @ b)[cell] * count
        size, p = len(self.day), self.x.shape[1]
        zero = np.bincount(place, risk, size).astype(np.float64)
        one = np.empty((size, p))
        two = np.empty((size, p, p))
        for i in range(p):
            xi = risk * self.x[cell, i]
            one[:, i] = np.bincount(place, xi, size)
            for j in range(i + 1):
                two[:, i, j] = two[:, j, i] = np.bincount(place, xi * self.x[cell, j], size)
        return zero, one, two

    def at(self, b: Floats, ties: str) -> _State:
        cell, place, count = self.event
        size = len(self.day)
        s0, s1, s2 = (self.later(table) for table in self.sums(self.mark, b))
        t0, t1, t2 = self.sums(self.event, b)
        d = np.bincount(place, count, size).astype(np.float64)
        k = _tied(s0, t0, d, ties)
        mean = (s1 * k.one[:, None] - t1 * k.part[:, None]) / d[:, None]
        eta = self.x @ b
        log_likelihood = float(eta[cell] @ count - k.log.sum())
        score = count @ self.x[cell] - d @ mean
        information = np.einsum("t,tij->ij", k.one, s2) - np.einsum("t,tij->ij", k.part, t2)
        cross = np.einsum("t,ti,tj->ij", k.part_square, s1, t1)
        information -= np.einsum("t,ti,tj->ij", k.square, s1, s1) - cross - cross.T
        information -= np.einsum("t,ti,tj->ij", k.parts_square, t1, t1)
        moved = s1 * k.square[:, None] - t1 * k.part_square[:, None]
        tied = s1 * k.part_square[:, None] - t1 * k.parts_square[:, None]
        return _State(
            log_likelihood,
            score,
            information,
            mean,
            self._cumulative(k.one),
            self._cumulative(moved),
            k.part,
            tied,
        )

    def meat(self, r: Repeats, b: Floats, s: _State) -> Floats:
        """The sum over customers of u u', from the sums over pairs of their days.

        u = sum of n(s) a(s) over days with events less sum of sign c(m) over marks, with
        a(s) = x - mean(s) + exp(b x) (x tied(s) - tied_mean(s)), c(m) = exp(b x) (x hazard(m) -
        moved(m)).
        """
        risk = np.exp(self.x @ b)

        def happened(cell: Places, day: Floats) -> Floats:
            at = self.place(cell, day)
            x = self.x[cell]
            tie = x * s.tied[at][:, None] - s.tied_mean[at]
            return np.asarray(x - s.mean[at] + risk[cell][:, None] * tie)

        def seen(cell: Places, day: Floats) -> Floats:
            at = self.place(cell, day)
            known = risk[cell] * (at >= 0)
            by_time = self.x[cell] * s.hazard[at][:, None] - s.moved[at]
            return np.asarray(by_time * -known[:, None])

        p = len(b)
        out = np.zeros((p, p))
        sides = {"event event": (happened, happened), "event mark": (happened, seen)}
        for kind, (left, right) in (sides | {"mark mark": (seen, seen)}).items():
            rows = r.rows(kind)
            for begin in range(0, len(rows[0]), CHUNK):
                here = slice(begin, begin + CHUNK)
                cell, one, two, total = rows[0][here], rows[1][here], rows[2][here], rows[3][here]
                once = total if kind == "event mark" else total * np.where(one == two, 0.5, 1.0)
                half = left(cell, one).T @ (right(cell, two) * once[:, None])
                out += half + half.T
        return out


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Ties:
    """By time, sums over its D tied events of powers of 1 / (S0 - f T0), and of f = k / D."""

    one: Floats
    part: Floats
    square: Floats
    part_square: Floats
    parts_square: Floats
    log: Floats


def _tied(s0: Floats, t0: Floats, d: Floats, ties: str) -> _Ties:
    """Efron (1977), JASA 72(359), 557-565: the k-th of D tied events leaves out k / D of them."""
    if ties == "breslow":
        zero = np.zeros(len(d))
        return _Ties(d / s0, zero, d / s0 / s0, zero, zero, d * np.log(s0))
    many = np.rint(d).astype(np.intp)
    out = np.zeros((6, len(d)))
    ends = np.cumsum(many)
    first = 0
    while first < len(d):
        last = max(int(np.searchsorted(ends, ends[first] - many[first] + CHUNK)), first + 1)
        here = slice(first, last)
        begin = np.cumsum(many[here]) - many[here]
        k = np.arange(int(many[here].sum())) - np.repeat(begin, many[here])
        f = k / np.repeat(d[here], many[here])
        v = np.repeat(s0[here], many[here]) - f * np.repeat(t0[here], many[here])
        for i, term in enumerate((1 / v, f / v, 1 / v**2, f / v**2, f * f / v**2, np.log(v))):
            out[i, here] = np.add.reduceat(term, begin)
        first = last
    return _Ties(*out)


def _fitted(days: _Days, first: _State, ties: str) -> tuple[Floats, _State] | None:
    """Newton's steps, halved while the likelihood falls; None where it has no maximum."""
    b, state = np.zeros(len(first.score)), first
    for _ in range(ROUNDS):
        step = np.linalg.solve(state.information, state.score)
        for _ in range(ROUNDS):
            with np.errstate(all="ignore"):
                new = days.at(b + step, ties)
            if new.log_likelihood >= state.log_likelihood - 1e-9 * abs(state.log_likelihood):
                break
            step = step / 2.0
        b, state = b + step, new
        if np.max(np.abs(b)) > STEEP or _collinear(state.information, b):
            return None
        if np.max(np.abs(step)) < CLOSE * max(1.0, float(np.max(np.abs(b)))):
            return b, state
    return None


def _collinear(information: Floats, names: Sequence[str] | npt.NDArray[np.float64]) -> list[str]:
    """The columns about which nothing is known once those before them are."""
    found: list[str] = []
    kept: list[int] = []
    for i, name in enumerate(names):
        own = float(information[i, i])
        left: float = own
        if kept and own > 0.0:
            cross = information[kept, i]
            left -= float(cross @ np.linalg.solve(information[np.ix_(kept, kept)], cross))
        if not (math.isfinite(left) and own > 0.0 and left > 1e-10 * own):
            found.append(str(name))
        else:
            kept.append(i)
    return found
