"""Shares of a limited number of places among owners who want more of them than there are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


def fair_shares(demand: Mapping[str, int], places: int, held: Mapping[str, int]) -> dict[str, int]:
    """The max-min fair share of each owner: nobody gets more without someone with fewer losing a place.

    An owner gets at most its `demand`; what it doesn't use is divided among the others. If places are left
    that can't be divided evenly, owners that hold one more (`held`) keep it, then the first names get one.
    """
    shares = dict.fromkeys(demand, 0)
    left = places
    while left > 0 and (wanting := [owner for owner in demand if shares[owner] < demand[owner]]):
        each = left // len(wanting)
        if not each:
            wanting.sort(key=lambda owner: (held.get(owner, 0) <= shares[owner], owner))
            wanting, each = wanting[:left], 1
        for owner in wanting:
            more = min(each, demand[owner] - shares[owner])
            shares[owner] += more
            left -= more
    return shares


@dataclass(frozen=True, slots=True)
class Standing:
    """The places of one pool. `places`: how many sessions it takes.

    `held` and `wanted`: numbers of each owner's open sessions and refused openings.
    """

    places: int
    held: Mapping[str, int]
    wanted: Mapping[str, int]

    @property
    def free(self) -> int:
        """Places without a session; below 0 if the pool's capacity has fallen."""
        return self.places - sum(self.held.values())

    def shares(self) -> dict[str, int]:
        """The fair share of each owner that has sessions or wants some."""
        owners = self.held.keys() | self.wanted.keys()
        demand = {owner: self.held.get(owner, 0) + self.wanted.get(owner, 0) for owner in sorted(owners)}
        return fair_shares(demand, self.places, self.held)

    def limit(self, owner: str) -> int:
        """The sessions that `owner` may have open, if it wants one more than its refused openings."""
        wanted = {**self.wanted, owner: self.wanted.get(owner, 0) + 1}
        return Standing(self.places, self.held, wanted).shares()[owner]

    def lent(self) -> dict[str, int]:
        """The number of places beyond its share that each owner has who has any."""
        shares = self.shares()
        over = {owner: count - shares[owner] for owner, count in self.held.items()}
        return {owner: count for owner, count in over.items() if count > 0}

    def owed(self) -> dict[str, int]:
        """The number of places that each owner below its share wants and lacks."""
        shares = self.shares()
        under = {owner: shares[owner] - self.held.get(owner, 0) for owner in self.wanted}
        return {owner: count for owner, count in under.items() if count > 0}
