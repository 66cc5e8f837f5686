"""Members that are restarted with another version of etcd, one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from agent_client import AgentClientError, AgentRefusedError
from agent_service.models import MemberState
from tester.actions.ground import Done, Ground, talking_to, whole
from tester.actions.membership import start
from tester.errors import ActionError, AgentError, ClusterError
from tester.etcd.errors import RpcError
from tester.results import CheckResult, Finding, Verdict
from tester.versions import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.models import MemberSpec

CHECKER: Final = "version"
_LOOK_SECONDS: Final = 0.5
_WORDS: Final = 40
_REFUSALS: Final = ("cannot be downgraded", "lower than determined cluster version", "incompatible")
"""In etcd's last words when it does not start on what a newer version has left."""


async def change_version(ground: Ground, members: Sequence[str], version: str) -> Done:
    """Restart ``members`` with ``version``, the leader last, each when the cluster is whole again.

    The check is ``invalid`` if a member says that it runs another one.
    """
    before = {member: ground.specs[member].version for member in members}
    leader = ground.monitor.view().leader
    for member in sorted(members, key=lambda name: name == leader):
        await _stop(ground, member)
        await start(ground, ground.as_version(ground.specs[member], version))
        await whole(ground, f"{member} was restarted with etcd {version}")
    findings = []
    for member in members:
        async with talking_to(ground, member) as client:
            try:
                said = (await client.status()).version
            except RpcError as error:
                raise ActionError(f"{member} does not say its version: {error}") from error
        if not may_say(version, said):
            findings.append(
                Finding(f"{member} says it is {said}, and was started as {version}", members=(member,))
            )
    now = ", ".join(
        f"{name} {spec.version}" for name, spec in ground.specs.items() if name in ground.membership.names
    )
    verdict = Verdict.INVALID if findings else Verdict.VALID
    check = CheckResult(
        CHECKER, verdict, findings[0].message if findings else now, tuple(findings), len(findings)
    )
    was = ", ".join(sorted(set(before.values())))
    return Done(tuple(members), f"{', '.join(members)} went from {was} to {version}; now {now}", (check,))


def may_say(version: str, said: str) -> bool:
    """Whether a build of this name may say that it is this version: 3.5.16-patched is 3.5.16. Pure.

    A name without a number promises none.
    """
    named, told = number_of(version), number_of(said)
    return named is None or (told is not None and told[: len(named)] == named)


async def refuse_version(ground: Ground, member: str, version: str) -> Done:
    """Start a member with a version that must refuse its data, then with its own again.

    The check is ``invalid`` if it starts, ``unknown`` if it ends for a reason that is not the version.
    """
    own = ground.specs[member]
    await _stop(ground, member)
    ground.membership.may_end(member)
    words = await _last_words(ground, ground.as_version(own, version))
    await _stop(ground, member)
    await start(ground, own)
    ground.membership.must_run(member)
    await whole(ground, f"{member} was restarted with its own etcd {own.version} again")
    refusal = refusal_in(words)
    if refusal:
        verdict, message = Verdict.VALID, f"etcd {version} refuses the data of {own.version}: {refusal[:300]}"
    elif words:
        verdict, message = Verdict.UNKNOWN, f"etcd {version} ended, but not for its version: {words[-300:]}"
    else:
        verdict, message = Verdict.INVALID, f"etcd {version} started on the data of {own.version}"
    return Done((member,), message, (CheckResult(CHECKER, verdict, message),))


def refusal_in(words: str) -> str:
    """The line with which etcd refuses data that are too new for it; empty: there is none."""
    return next((line for line in words.splitlines() if any(word in line for word in _REFUSALS)), "")


async def _last_words(ground: Ground, spec: MemberSpec) -> str:
    """What a member said before it ended after its start; empty: it serves."""
    agent = ground.agents[spec.name]
    try:
        await agent.start(spec)
        until = time.monotonic() + ground.limit
        while time.monotonic() < until:
            if (await agent.member()).state is MemberState.EXITED:
                return "\n".join((await agent.member_log(_WORDS)).lines) or "nothing"
            try:
                await ground.monitor.wait_serving(_LOOK_SECONDS, [spec.name])
            except ClusterError:
                continue
            return ""
    except AgentRefusedError as error:
        return error.message
    except AgentClientError as error:
        raise AgentError(f"{spec.name}: {error.message}", remedy=error.remedy) from error
    raise ActionError(f"{spec.name} neither serves nor ends as etcd {spec.version}")


async def _stop(ground: Ground, member: str) -> None:
    try:
        await ground.agents[member].stop()
    except AgentClientError as error:
        raise AgentError(f"{member} was not stopped: {error.message}", remedy=error.remedy) from error
