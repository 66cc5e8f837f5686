"""Words of actions that scenarios use too."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Mistake(StrEnum):
    """What etcd must refuse."""

    REMOVE_UNKNOWN = "remove-unknown"
    """Remove an id that no member has."""
    PROMOTE_UNKNOWN = "promote-unknown"
    PROMOTE_VOTER = "promote-voter"
    """Promote a member that is no learner."""
    ADD_TWICE = "add-twice"
    """Add a member at a peer URL that another one has."""
    MOVE_LEADER_TO_UNKNOWN = "move-leader-to-unknown"
    MOVE_LEADER_AT_FOLLOWER = "move-leader-at-follower"
    """Ask a follower to hand leadership over."""
    PROMOTE_TOO_EARLY = "promote-too-early"
    """Promote a learner that was never started."""
    SECOND_LEARNER = "second-learner"
    """Add a learner beside another one."""
    DOWNGRADE_TOO_FAR = "downgrade-too-far"
    """Prepare for members that are two minor versions older."""
    CANCEL_NO_DOWNGRADE = "cancel-no-downgrade"
    """Cancel a downgrade that nobody has begun."""
    ADD_WHILE_UNHEALTHY = "add-while-unhealthy"
    """Add a voter while one is down: only in a case that takes one down."""
    REMOVE_WHILE_UNHEALTHY = "remove-while-unhealthy"
    """Remove a member that runs while one is down: only in a case that takes one down."""


NEEDS_FAULT: Final = frozenset({Mistake.ADD_WHILE_UNHEALTHY, Mistake.REMOVE_WHILE_UNHEALTHY})
ALWAYS: Final = tuple(mistake for mistake in Mistake if mistake not in NEEDS_FAULT)
