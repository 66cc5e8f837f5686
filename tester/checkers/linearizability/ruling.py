"""Where the rules put what they find, sorted by how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tester.checkers.base import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Ruling:
    """Violations for certain, and violations that something unseen might explain."""

    certain: Evidence = field(default_factory=lambda: Evidence("linearizable"))
    open: Evidence = field(default_factory=lambda: Evidence("linearizable"))

    def more(self, number: int) -> None:
        """See ``Evidence.more``."""
        self.certain.more(number)

    def violation(
        self,
        message: str,
        *,
        operations: Iterable[int] = (),
        revisions: Iterable[int] = (),
        members: Iterable[str] = (),
        certain: bool = True,
    ) -> None:
        """Note a violation; see ``Evidence.violation``."""
        where = self.certain if certain else self.open
        where.violation(message, operations=operations, revisions=revisions, members=members)
