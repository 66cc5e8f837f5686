"""A fault's own iptables chain that hands packets to a queue: written, looked for, taken away.

It hangs in ``mangle``'s INPUT, before every filter: packets that come back from the queue go on through those.
INPUT and not OUTPUT: there, a sender's packets that wait in the queue would hold up the sender itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service import commands
from agent_service.errors import UnavailableError
from agent_service.faults import nft
from agent_service.faults.nft import NFT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.faults.quality_steps import ChainQueues, RemoveChain
    from agent_service.faults.selectors import Family, Selector

CHAIN: Final = "etcd-chaos-network"
TABLE: Final = "mangle"
_HOOK: Final = "INPUT"


@dataclass(frozen=True, slots=True)
class Iptables:
    """Which of a host's iptables to use: ``nft`` or ``legacy``, and how its commands are called."""

    backend: str
    infix: str
    """Between ``iptables`` and what it does: ``-nft``, ``-legacy`` or nothing."""

    def tool(self, family: Family, what: str) -> str:
        """The command of a family: ``iptables-nft-restore``, ``ip6tables-legacy-save``."""
        return f"{'ip6tables' if family == 'ip6' else 'iptables'}{self.infix}{what}"

    def restore_argv(self, family: Family) -> tuple[str, ...]:
        """Load rules and leave all others as they are."""
        return (self.tool(family, "-restore"), "--wait", "5", "--noflush")

    def save_argv(self, family: Family) -> tuple[str, ...]:
        """List the table."""
        return (self.tool(family, "-save"), "--table", TABLE)


def chain_rules(selected: Iterable[Selector], queue: int, protected: tuple[int, ...]) -> str:
    """What ``iptables-restore`` reads: one transaction, all of it or nothing."""
    lines = [
        f"*{TABLE}",
        f":{CHAIN} - [0:0]",
        # one rule a port: a list of ports holds at most 15
        *(f"-A {CHAIN} -p tcp --dport {port} -j RETURN" for port in protected),
        *(f"-A {CHAIN} {_match(one)} -j NFQUEUE --queue-num {queue} --queue-bypass" for one in selected),
        f"-I {_HOOK} 1 -j {CHAIN}",
        "COMMIT",
    ]
    return "".join(f"{line}\n" for line in lines)


def _match(one: Selector) -> str:
    """Not by the loopback interface: what is sent twice comes by there, and must not wait again."""
    source = f"-s {one.address} " if one.address is not None else ""
    port = f"--dport {one.own_port}" if one.own_port is not None else f"--sport {one.other_port}"
    return f"! -i lo -p tcp {source}{port}"


# --- reading what iptables-save lists -------------------------------------------------------------------------


def _jumps(listing: str) -> int:
    return listing.splitlines().count(f"-A {_HOOK} -j {CHAIN}")


def is_listed(listing: str) -> bool:
    """Whether there is such a chain, or a jump to it."""
    return any(re.search(rf"(^:| ){CHAIN}( |$)", line) for line in listing.splitlines())


def missing_rules(listing: str, check: ChainQueues) -> str | None:
    """What the listing lacks of what the fault put there; ``None``: it is all in place."""
    if not _jumps(listing):
        return f"nothing leads from {_HOOK} to chain {CHAIN}"
    rules = [line for line in listing.splitlines() if line.startswith(f"-A {CHAIN} ")]
    first = {line for line in rules[: len(check.protected)] if line.endswith("-j RETURN")}
    passed = {int(port) for line in first for port in re.findall(r"--dport (\d+)", line)}
    if passed != set(check.protected):
        return f"the first rules of chain {CHAIN} do not let the protected ports pass"
    queueing = [line for line in rules if f"-j NFQUEUE --queue-num {check.queue} --queue-bypass" in line]
    if len(queueing) != check.rules:
        return f"chain {CHAIN} has {len(queueing)} rules to queue {check.queue} instead of {check.rules}"
    return None


def removal(listing: str) -> str | None:
    """What ``iptables-restore`` must read to take the chain and every jump to it away; ``None``: nothing."""
    if not is_listed(listing):
        return None
    lines = [
        f"*{TABLE}",
        f":{CHAIN} - [0:0]",  # empties it
        *[f"-D {_HOOK} -j {CHAIN}"] * _jumps(listing),
        f"-X {CHAIN}",
        "COMMIT",
    ]
    return "".join(f"{line}\n" for line in lines)


async def remove(step: RemoveChain) -> None:
    """Take the chain away and, if it was not there before and nobody uses it now, the table as well.

    Raises:
        UnavailableError: a command fails.
    """
    tools = Iptables(step.backend, step.infix)
    rules = removal((await commands.check(tools.save_argv(step.family))).stdout)
    if rules is not None:
        await commands.check(tools.restore_argv(step.family), stdin=rules)
    if step.made_table:
        await _remove_empty_table(step.family)


async def _remove_empty_table(family: Family) -> None:
    """Iptables-nft makes a table of nftables' with its first rule, and leaves it there."""
    table = (NFT, "-j", "list", "table", family, TABLE)
    listing = await nft.run(table)
    rules = table_removal(listing.stdout, family) if listing.code == 0 else None
    if rules is None:
        return
    removed = await nft.run((NFT, "-f", "-"), stdin=rules)
    if removed.code != 0 and table_removal((await nft.check(table)).stdout, family) is not None:
        raise UnavailableError(f"cannot remove the empty table {TABLE} ({family}): {removed.complaint}")


def table_removal(listing: str, family: Family) -> str | None:
    """What ``nft -f -`` must read to take a table away that has nothing but the hook; ``None``: it has.

    One transaction: a chain that somebody has put a rule into meanwhile is not deleted, and so nothing is.
    """
    try:
        items = msgspec.json.decode(listing, type=_Listing).nftables
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"cannot read what nft lists: {error}") from error
    chains = [item.chain.name for item in items if item.chain]
    others = [item for item in items if not (item.metainfo or item.table or item.chain)]
    if others or set(chains) - {_HOOK}:
        return None
    lines = [
        *(f"delete chain {family} {TABLE} {chain}" for chain in chains),
        f"delete table {family} {TABLE}",
    ]
    return "".join(f"{line}\n" for line in lines)


class _Table(msgspec.Struct):
    family: str
    name: str


class _Chain(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    """One of what nft lists; rules and all else leave every field empty."""

    metainfo: dict[str, object] | None = None
    table: _Table | None = None
    chain: _Chain | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Object]


async def families_with_table() -> frozenset[str]:
    """For which nftables has a table of this name, as iptables-nft makes them."""
    text = (await nft.check((NFT, "-j", "list", "tables"))).stdout
    try:
        tables = msgspec.json.decode(text, type=_Listing).nftables
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"cannot read what nft lists: {error}") from error
    return frozenset(item.table.family for item in tables if item.table and item.table.name == TABLE)
