"""A list of all keys in pages, as an API server reads it: every page at the revision of the first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.records import Range, RangeResult

if TYPE_CHECKING:
    from tester.history.records import Result
    from tester.load.keys import KeySpace


_KEYS_ONLY_EVERY = 4


class Listing:
    """Where one client is in its list. A list that is done, or that failed, begins anew."""

    def __init__(self, space: KeySpace, page_keys: int) -> None:
        self._space = space
        self._page_keys = page_keys
        self.revision = 0
        """What the list is read at; 0 before its first page is answered."""
        self._start = space.first
        self._lists = 1

    @property
    def begun(self) -> bool:
        """Whether a page was answered, and another one is to come."""
        return self.revision != 0

    def page(self) -> Range:
        """The next page."""
        return Range(
            k=self._start,
            e=self._space.end,
            r=self.revision,
            n=self._page_keys,
            keys_only=self._lists % _KEYS_ONLY_EVERY == 0,
        )

    def learn(self, op: Range, revision: int, result: Result | None) -> None:
        """A page was answered."""
        if isinstance(result, RangeResult) and result.more and result.kv:
            self.revision = op.r or revision
            self._start = result.kv[-1].k + "\0"
        else:
            self.restart()

    def restart(self) -> None:
        """Forget where it was."""
        self.revision = 0
        self._start = self._space.first
        self._lists += 1
