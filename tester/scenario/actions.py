"""Every action that a case may have: what an operator does to the cluster while the faults are held."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import Field

from agent_service.models import Version
from tester.actions.kinds import ALWAYS, Mistake
from tester.scenario.section import Section
from tester.scenario.target import ONE, Target, parse_target
from tester.scenario.units import Seconds


class ActionSection(Section):
    """One action. Actions of a case are done one after the other; the faults are held until all are done."""

    changes_members: ClassVar[bool] = False
    """Whether other hosts are members of the cluster afterwards, or meanwhile."""

    first: bool = Field(default=False, description="In the steady time, before any fault.")
    after: Seconds = Field(
        default=0.0, description="Not before so long after the hold (`first`: the steady time) has begun."
    )
    last: bool = Field(default=False, description="Not before what the case waits for: `until`.")

    @classmethod
    def kind(cls) -> str:
        """Its name in the file."""
        return str(cls.model_fields["action"].default)


class RemoveAndAddBackSection(ActionSection):
    """Remove a member, throw its data away, add it again under a new id, and wait until it serves."""

    action: Literal["remove-and-add-back"] = "remove-and-add-back"
    changes_members: ClassVar = True
    target: Target = Field(default=ONE, description="Whom.")
    learner: bool = Field(default=False, description="It comes as a learner, and is promoted.")


class ReplaceSection(ActionSection):
    """Add a member on a host that has none, then remove the target."""

    action: Literal["replace"] = "replace"
    changes_members: ClassVar = True
    target: Target = Field(default=ONE, description="Whom.")
    learner: bool = Field(default=True, description="The new one comes as a learner, and is promoted.")


class GrowSection(ActionSection):
    """Add members on hosts that have none, one after the other."""

    action: Literal["grow"] = "grow"
    changes_members: ClassVar = True
    to: int = Field(ge=1, le=15, description="How many members there are afterwards.")
    learner: bool = Field(default=False, description="They come as learners, and are promoted.")


class AddLearnerSection(ActionSection):
    """Add a member on a host that has none as a learner, and leave it one until it is promoted."""

    action: Literal["add-learner"] = "add-learner"
    changes_members: ClassVar = True


class PromoteSection(ActionSection):
    """Make a voter of a learner as soon as etcd finds it in sync with the leader."""

    action: Literal["promote"] = "promote"
    changes_members: ClassVar = True
    target: Target = Field(default=parse_target("learner"), description="Whom.")


class ShrinkSection(ActionSection):
    """Remove members, drawn with the seed, one after the other."""

    action: Literal["shrink"] = "shrink"
    changes_members: ClassVar = True
    to: int = Field(ge=1, le=15, description="How many members there are afterwards.")


class MoveLeaderSection(ActionSection):
    """Hand leadership to the target."""

    action: Literal["move-leader"] = "move-leader"
    target: Target = Field(default=parse_target("follower"), description="To whom.")


class MistakesSection(ActionSection):
    """Mistakes that etcd must refuse; that it does is checked."""

    action: Literal["mistakes"] = "mistakes"
    make: tuple[Mistake, ...] = Field(
        default=ALWAYS, min_length=1, description="Which; default: all that need no fault."
    )


class CompactSection(ActionSection):
    """Forget old revisions."""

    action: Literal["compact"] = "compact"
    keep: int = Field(default=1000, ge=0, description="So many of the newest stay.")
    physical: bool = Field(default=False, description="Wait until they are gone from the database.")


class DefragmentSection(ActionSection):
    """Rewrite the database of the target's members, one after the other."""

    action: Literal["defragment"] = "defragment"
    target: Target = Field(default=parse_target("all"), description="Whose.")


class ExceedQuotaSection(ActionSection):
    """Write until the quota is exceeded, see the alarm and what it means, make room, clear it."""

    action: Literal["exceed-quota"] = "exceed-quota"


class ChangeVersionSection(ActionSection):
    """Restart the target's members with another etcd, each when the cluster is whole again."""

    action: Literal["change-version"] = "change-version"
    target: Target = Field(default=parse_target("all"), description="Whom; fewer than all: a mixed cluster.")
    to: Version = Field(description="Which etcd.")


class RefuseVersionSection(ActionSection):
    """Start a member with an etcd that must refuse its data; that it does is checked; then with its own."""

    action: Literal["refuse-version"] = "refuse-version"
    target: Target = Field(default=ONE, description="Whom.")
    to: Version = Field(description="Which etcd.")


class SaveSnapshotSection(ActionSection):
    """Save a snapshot of a member: what `restore-snapshot` of the same case makes a cluster of."""

    action: Literal["save-snapshot"] = "save-snapshot"
    first: bool = Field(default=True, description="In the steady time, before any fault.")
    target: Target = Field(default=parse_target("leader"), description="Whose.")
    quiet: bool = Field(
        default=False,
        description="The load is paused from before it until the cluster is restored, so that nothing is lost.",
    )


class RestoreSnapshotSection(ActionSection):
    """Make a new cluster of the snapshot; who still has data loses them; wait until all of it serves."""

    action: Literal["restore-snapshot"] = "restore-snapshot"
    changes_members: ClassVar = True
    target: Target = Field(
        default=parse_target("all"),
        description="Who is made of the snapshot; the others are added as new members.",
    )


AnyAction: TypeAlias = (
    RemoveAndAddBackSection
    | ReplaceSection
    | GrowSection
    | AddLearnerSection
    | PromoteSection
    | ShrinkSection
    | MoveLeaderSection
    | MistakesSection
    | CompactSection
    | DefragmentSection
    | ExceedQuotaSection
    | ChangeVersionSection
    | RefuseVersionSection
    | SaveSnapshotSection
    | RestoreSnapshotSection
)
Action = Annotated[AnyAction, Field(discriminator="action")]

ACTIONS: Final[dict[str, type[ActionSection]]] = {section.kind(): section for section in get_args(AnyAction)}
"""The sections by name, in the order of the documentation."""
