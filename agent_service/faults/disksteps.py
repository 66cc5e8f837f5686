"""Steps of faults on the member's disk, and what must then be seen of them."""

from __future__ import annotations

from typing import TypeAlias

from agent_service.disk.messages import AnyRule
from agent_service.faults.step import Step

# --- actions: doing one twice is the same as doing it once ------------------------------------------------


class SetDiskRule(Step, frozen=True, tag="set-disk-rule"):
    """Tell the layer under the member's data to do this from now on."""

    fault: str
    rule: AnyRule

    def __str__(self) -> str:
        return f"disk layer: {self.rule}"


class DropDiskRule(Step, frozen=True, tag="drop-disk-rule"):
    """Tell the layer to do it no more; nothing if there is no layer any more."""

    fault: str

    def __str__(self) -> str:
        return "disk layer: as before"


class ExcuseEnd(Step, frozen=True, tag="excuse-end"):
    """Let what the disk does explain it when etcd ends itself."""

    cause: str

    def __str__(self) -> str:
        return "expect that etcd may end itself"


class ExcuseNothing(Step, frozen=True, tag="excuse-nothing"):
    """From now on nothing explains that etcd ends itself."""

    def __str__(self) -> str:
        return "expect that etcd runs on"


class WriteMarkers(Step, frozen=True, tag="write-markers"):
    """Write two files through the layer, and sync one of them."""

    def __str__(self) -> str:
        return "write a file beside etcd's that is synced, and one that is not"


class LoseMemberPower(Step, frozen=True, tag="lose-power"):
    """SIGKILL, and at once what was not synced is put back as it was."""

    def __str__(self) -> str:
        return "send SIGKILL to etcd; disk layer: put back what was not synced"


class RestoreMemberPower(Step, frozen=True, tag="restore-power"):
    """Tell the layer that the power is back; nothing if there is no layer any more."""

    def __str__(self) -> str:
        return "disk layer: the power is back"


DiskAction: TypeAlias = (
    SetDiskRule
    | DropDiskRule
    | ExcuseEnd
    | ExcuseNothing
    | WriteMarkers
    | LoseMemberPower
    | RestoreMemberPower
)


# --- checks: they change nothing of the member's ------------------------------------------------------------


class DiskRuleFelt(Step, frozen=True, tag="disk-rule-felt"):
    """The layer obeys the rule, and an operation on a file beside etcd's meets it."""

    fault: str
    rule: AnyRule

    def __str__(self) -> str:
        return f"seen on a file beside etcd's: {self.rule}"


class DiskRuleGone(Step, frozen=True, tag="disk-rule-gone"):
    """The layer does not know the rule, and without any other passes on what is written; or it is gone itself."""

    fault: str

    def __str__(self) -> str:
        return "the disk layer does nothing in the name of this fault"


class MarkerLost(Step, frozen=True, tag="marker-lost"):
    """Of the two files that were written only the one that was synced is there."""

    def __str__(self) -> str:
        return "a file that was not synced is gone, one that was is there"


class DiskPowered(Step, frozen=True, tag="disk-powered"):
    """What is written is taken; or the layer is gone."""

    def __str__(self) -> str:
        return "the disk layer takes what is written"


DiskCheck: TypeAlias = DiskRuleFelt | DiskRuleGone | MarkerLost | DiskPowered
