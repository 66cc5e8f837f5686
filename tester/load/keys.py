"""The keys of a stresser, and how often which one is drawn. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.load.kinds import KeyDistribution

if TYPE_CHECKING:
    from random import Random


class KeySpace:
    """``keys`` places in order under a prefix."""

    def __init__(self, prefix: str, keys: int, distribution: KeyDistribution, rng: Random) -> None:
        self._prefix = prefix
        self._keys = keys
        self._distribution = distribution
        self._rng = rng

    @property
    def first(self) -> str:
        """The first key there can be."""
        return self.at(0)

    @property
    def end(self) -> str:
        """The end of the range of all keys."""
        return self.at(self._keys)

    def at(self, place: int) -> str:
        """The key at a place."""
        return f"{self._prefix}k{place:08d}"

    def key(self) -> str:
        """A key, drawn."""
        return self.at(self.place())

    def place(self) -> int:
        """A place, drawn."""
        rng, keys = self._rng, self._keys
        if self._distribution is KeyDistribution.ZIPF:
            # keys ** u has a density in proportion to 1/x on [1, keys]
            return int(keys ** rng.random()) - 1
        if self._distribution is KeyDistribution.HOT_KEY and rng.random() < 0.5:
            return 0
        return int(rng.random() * keys)

    def interval(self, width: int) -> tuple[str, str]:
        """Start and end of a range of at most ``width`` places."""
        start = self.place()
        return self.at(start), self.at(min(start + width, self._keys))

    def apart(self, count: int) -> list[str]:
        """Up to ``count`` keys that differ, alike in probability."""
        return [self.at(place) for place in self._rng.sample(range(self._keys), min(count, self._keys))]

    def toggled(self, place: int) -> str:
        """A key apart from the others, for transactions that toggle."""
        return f"{self._prefix}t{place:08d}"
