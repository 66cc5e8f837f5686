"""The keys of a stresser, and how often which one is drawn. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.load.kinds import KeyDistribution

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class KeySpace:
    """``keys`` places in order under a prefix."""

    def __init__(self, prefix: str, keys: int, distribution: KeyDistribution, rng: Random) -> None:
        self._prefix = prefix
        self._form = prefix.replace("%", "%%") + "k%08d"
        self._keys = keys
        self._rng = rng
        self._random = rng.random
        self.place: Callable[[], int] = {
            KeyDistribution.UNIFORM: self._uniform,
            KeyDistribution.ZIPF: self._zipf,
            KeyDistribution.HOT_KEY: self._hot,
        }[distribution]
        """Draws a place."""

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
        return self._form % place

    def key(self) -> str:
        """A key, drawn."""
        return self._form % self.place()

    def _uniform(self) -> int:
        return int(self._random() * self._keys)

    def _zipf(self) -> int:
        # keys ** u has a density in proportion to 1/x on [1, keys]
        return int(self._keys ** self._random()) - 1

    def _hot(self) -> int:
        return 0 if self._random() < 0.5 else self._uniform()

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
