"""What a free-shipping limit is like, in; a frozen `Limit`, with two ready-made ones, out.

Plain values only (no numpy), as in scenario.py. They are assumptions of the simulation.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """Baskets of a shop that ships free from `cutoff` USD on, and what it truly does.

    A basket's value is gamma with `shape` and mean `mean`, in cents. Who buys more comes back more
    often: of customers whose basket is worth v without free shipping, ``least + rise (1 -
    exp(-v / 60))`` order again within 60 days, and spend ``spend[0] + spend[1] v`` USD if they do.
    Free shipping adds `effect` to that share at the limit, and `slope` more for each dollar above
    it. `evenness` is the shape of the gamma law of what is spent, `returned` the share of it that
    comes back.

    With `sorters` above 0, so many of those whose basket lies at most `within` USD below the limit
    add something to reach it; they are keener, and come back more often by `keener`.

    Raises ValueError where the numbers do not make a shop.
    """

    name: str
    baskets: int = 60_000
    seed: int = 20250901
    cutoff: float = 49.0
    shape: float = 2.6
    mean: float = 54.0
    least: float = 0.10
    rise: float = 0.26
    effect: float = 0.06
    slope: float = -0.0006
    spend: tuple[float, float] = (34.0, 0.35)
    evenness: float = 2.0
    returned: float = 0.12
    sorters: float = 0.0
    within: float = 10.0
    keener: float = 0.08

    def __post_init__(self) -> None:
        checks = {
            "baskets must be 1 or more": self.baskets >= 1,
            "seed must be 0 or more": self.seed >= 0,
            "shares must leave a probability": self.least > 0
            and self.least + self.rise + max(self.effect, 0.0) + self.keener < 1,
            "sorters is a share": 0 <= self.sorters <= 1,
            "values must be above 0": min(self.cutoff, self.shape, self.mean, self.evenness) > 0,
        }
        faults = [text for text, holds in checks.items() if not holds]
        if faults:
            raise ValueError(f"limit {self.name!r}: " + "; ".join(faults))


FREE_SHIPPING = Limit("free-shipping-threshold")
"""Free shipping from 49 USD on, as a new rule that no customer knew when filling the basket.

So nobody sorts: those just above the limit differ from those just below it in nothing but the
parcel's price. The seed is the first day of the baskets.
"""

SORTED = dataclasses.replace(FREE_SHIPPING, name="sorted-baskets", sorters=0.35)
"""The same once customers know the limit: a third of those just below it add something."""

LIMITS = {"twin-threshold": FREE_SHIPPING}
"""The simulated datasets of data/registry.yaml that are about a limit."""
