"""The defragmentation after every so many rounds, verified: nothing is lost by it, and no database grows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tester.etcd.admin import AdminClient
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.etcd.channel import Connect
    from tester.etcd.endpoint import Endpoint

CHECKER: Final = "defragmentation"
_CALL_SECONDS: Final = 120.0
_EVERYTHING: Final = "etcd-chaos/"
_SLACK_BYTES: Final = 1024 * 1024
_SLACK_SHARE: Final = 0.1
"""A rewritten database has pages of its own that are free again, and leaves a tenth of each page empty."""


async def defragment(endpoints: Sequence[Endpoint], connect: Connect = connect) -> CheckResult:
    """Rewrite every member's database, one after the other, while nobody writes.

    Returns:
        ``valid``: each member then serves the content that it had, from a database that has not grown (by
        more than 1 MiB and a tenth). ``invalid``: one does not. ``unknown``: one could not be asked.
    """
    started = time.monotonic()
    lines: list[str] = []
    findings: list[Finding] = []
    doubts: list[str] = []
    for endpoint in endpoints:
        client = AdminClient(endpoint, connect(endpoint), _CALL_SECONDS)
        try:
            line, found = await _rewrite(client)
        except RpcError as error:
            doubts.append(f"{endpoint.member} could not be defragmented: {error}")
        else:
            lines.append(line)
            findings += found
        finally:
            await client.close()
    if findings:
        verdict, message = Verdict.INVALID, findings[0].message
    elif doubts:
        verdict, message = Verdict.UNKNOWN, "; ".join(doubts)
    else:
        verdict, message = Verdict.VALID, f"every member serves what it had; {', '.join(lines)}"
    return CheckResult(CHECKER, verdict, message, tuple(findings), len(findings), time.monotonic() - started)


async def _rewrite(client: AdminClient) -> tuple[str, list[Finding]]:
    member = client.endpoint.member
    size = (await client.status()).db_size_bytes
    revision, before = await client.range_all(_EVERYTHING)
    began = time.monotonic()
    await client.defragment()
    seconds = time.monotonic() - began
    size_now = (await client.status()).db_size_bytes
    await client.get(_EVERYTHING)  # linearizable: it follows the others again
    _, after = await client.range_all(_EVERYTHING, revision, serializable=True)
    findings: list[Finding] = []
    if after != before:
        lost = len({kv.k for kv in before} - {kv.k for kv in after})
        text = f"{member} serves other content at revision {revision} after its defragmentation: {lost} keys are gone"
        findings.append(Finding(text, (), (revision,), (member,)))
    if size_now > size * (1 + _SLACK_SHARE) + _SLACK_BYTES:
        text = f"the database of {member} grew by its defragmentation, from {size} to {size_now} bytes"
        findings.append(Finding(text, members=(member,)))
    return f"{member} {size} to {size_now} bytes in {seconds:.3f} s", findings
