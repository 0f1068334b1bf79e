"""A switchback's table in; why its blocks of time do not tell the arms apart, if so, out.

Blocks count as if each had been given its arm by itself. Where the arm changes more rarely than the
file says (drawn by day, blocks of an hour), neighbouring blocks are one draw; where it follows the
hour of the day, arms differ by what hours do.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from scipy import special

from retention_lab.data.source import EPOCH, MICROSECOND, Source
from retention_lab.data.sql import quoted
from retention_lab.data.times import HOUR
from retention_lab.experiment.spec import Spec, hours

UNLIKELY = 0.001  # as the split of units
# Where shorter blocks take turns, neighbouring hours stand for each other: of 28 days with a daily
# wave, blocks of 1 and 4 hours, 3% are rejected at 5%; of 6 and 12 hours 91% and 95%.
SHORT, DAY = 6, 24
Blocks = Mapping[str, Mapping[int, str]]


def schedule_faults(spec: Spec, source: Source, ref: str) -> tuple[str | None, str | None]:
    """What is wrong with the turns of a switchback: rarely switched; at fixed hours of the day."""
    assert spec.design is not None
    said = spec.design.switchback
    if said is None or spec.data.assignments is None:
        return None, None
    every = hours(said.every)
    blocks = _blocks(spec, source, ref, every)
    length, rare, tied = rarely_switched(blocks), None, None
    if length is not None:
        rare = (
            f"the arm stays the same over {length:.3g} blocks of {said.every} on average, longer "
            "than by chance; say in design.switchback.every how often it was drawn"
        )
    offset = ((said.start or EPOCH) - EPOCH) // MICROSECOND // HOUR
    if SHORT <= every < DAY and DAY % every == 0 and by_hour(blocks, every, offset):
        tied = (
            "the arms were not at the same hours of the day beyond chance, so that they differ by "
            "what these hours do; draw the arm of each block by chance"
        )
    return rare, tied


def rarely_switched(blocks: Blocks) -> float | None:
    """Mean length of a run of one arm, in blocks, where it is too long for a draw by block.

    `blocks` are arms by place in time, for each of `by`. Pairs of neighbours differ with chance
    q = 1 - sum p^2, p the arms' shares of blocks, and two such pairs in a row with chance
    1 - 2 sum p^2 + sum p^3. Source: Wald and Wolfowitz (1940), Annals of Mathematical Statistics
    11(2), 147-162 (runs), by the normal limit.
    """
    arms = Counter(arm for turns in blocks.values() for arm in turns.values())
    whole = sum(arms.values())
    shares = [n / whole for n in arms.values()]
    pairs = changes = 0
    for turns in blocks.values():
        both = [(arm, turns[at + 1]) for at, arm in turns.items() if at + 1 in turns]
        pairs, changes = pairs + len(both), changes + sum(a != b for a, b in both)
    squares = math.fsum(p * p for p in shares)
    q, twice = 1.0 - squares, 1.0 - 2.0 * squares + math.fsum(p**3 for p in shares)
    spread = pairs * (q - q * q + 2.0 * max(twice - q * q, 0.0))
    if spread <= 0.0:
        return None
    p_value = float(special.ndtr((changes + 0.5 - pairs * q) / math.sqrt(spread)))
    return whole / (changes + len(blocks)) if p_value < UNLIKELY else None


def by_hour(blocks: Blocks, every: int, offset: int = 0) -> bool:
    """Whether arms and hours of the day go together beyond chance (Pearson's chi-square).

    `every` is the length of a block in hours, `offset` the hour at which block 0 begins.
    """
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    for turns in blocks.values():
        for at, arm in turns.items():
            seen[arm][(at * every + offset) % DAY] += 1
    return _apart([[c[h] for h in sorted(set().union(*seen.values()))] for c in seen.values()])


def _apart(table: Sequence[Sequence[int]]) -> bool:
    rows, columns = [sum(r) for r in table], [sum(c) for c in zip(*table, strict=True)]
    if len(rows) < 2 or len(columns) < 2:
        return False
    total = sum(rows)
    chi2 = math.fsum(
        (x - r * c / total) ** 2 / (r * c / total)
        for line, r in zip(table, rows, strict=True)
        for x, c in zip(line, columns, strict=True)
    )
    return float(special.chdtrc((len(rows) - 1) * (len(columns) - 1), chi2)) < UNLIKELY


def _blocks(spec: Spec, source: Source, ref: str, every: int) -> Blocks:
    """Arms of the blocks that have one, by place in time, for each level of `by`."""
    design, main = spec.design, spec.data.assignments
    assert design is not None
    assert design.switchback is not None
    assert main is not None
    _, kept = source.cluster(ref, spec)
    long = every * HOUR
    start = ((design.switchback.start or EPOCH) - EPOCH) // MICROSECOND % long
    by = f"{quoted(design.switchback.by)}::varchar" if design.switchback.by else "''"
    arm = quoted(design.arm)
    rows = source.query(
        f"select coalesce({by}, '') as region, "
        f"(epoch_us({quoted(main.at)}::timestamp) - {start}) // {long} as place, "
        f"min({arm}::varchar) as arm from t "
        f"where {kept} and {arm} is not null and {quoted(main.at)} is not null "
        "group by 1, 2 order by 1, 2",
        t=ref,
    )
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for r in rows:
        found[str(r["region"])][int(r["place"])] = str(r["arm"])
    return found
