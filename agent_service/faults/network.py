"""Faults on the member's traffic, each in an nftables table of its own; no other table is ever touched."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service.errors import RefusedError, UnavailableError
from agent_service.faults.steps import Exec, FaultSteps, TableAbsent, TableDrops

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext
    from agent_service.models import IsolateFault, Peer

NFT: Final = "nft"
PRIORITY: Final = -300
"""Of the raw table: before connection tracking and any rule that lets known connections through."""


def table_name(fault_id: str) -> str:
    """The fault's own table; ids have no underscores, so two of them never meet."""
    return f"etcd_chaos_{fault_id.replace('-', '_')}"


def plan_isolate(fault_id: str, spec: IsolateFault, host: HostContext) -> FaultSteps:
    """Drop all peer traffic of the member, both ways, connections that stand included.

    Raises:
        RefusedError: a protected port would be hit, or ``peer_port`` is not the member's.
    """
    _check_ports(spec, host)
    table = table_name(fault_id)
    received = [f"tcp dport {spec.peer_port} drop", *(_peer_rule(peer, "s") for peer in spec.peers)]
    sent = [f"tcp sport {spec.peer_port} drop", *(_peer_rule(peer, "d") for peer in spec.peers)]
    ruleset = (
        f"{_fresh(table)}"
        f"table inet {table} {{\n"
        f"{_chain('input', 'd', received, host.protected_ports)}"
        f"{_chain('output', 's', sent, host.protected_ports)}"
        "}\n"
    )
    drops = 1 + len(spec.peers)
    return FaultSteps(
        inject=(Exec((NFT, "-f", "-"), ruleset),),
        verify_injected=(
            TableDrops((NFT, "-j", "list", "table", "inet", table), table, drops, host.protected_ports),
        ),
        undo=(Exec((NFT, "-f", "-"), _fresh(table)),),
        verify_healed=(TableAbsent((NFT, "-j", "list", "tables"), table),),
    )


def _fresh(table: str) -> str:
    """Delete the table; adding it first makes that no error when it is not there. One transaction."""
    return f"add table inet {table}\ndelete table inet {table}\n"


def _peer_rule(peer: Peer, side: str) -> str:
    family = "ip6" if ip_address(peer.address).version == 6 else "ip"
    return f"{family} {side}addr {peer.address} tcp {side}port {peer.port} drop"


def _chain(hook: str, own_side: str, rules: list[str], protected: tuple[int, ...]) -> str:
    ports = ", ".join(map(str, protected))
    lines = (
        f"type filter hook {hook} priority {PRIORITY}; policy accept;",
        f"tcp {own_side}port {{ {ports} }} accept",
        *rules,
    )
    return f"  chain {hook} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _check_ports(spec: IsolateFault, host: HostContext) -> None:
    for port in (spec.peer_port, *(peer.port for peer in spec.peers)):
        if port in host.protected_ports:
            raise RefusedError(
                f"port {port} is protected on this host and never dropped",
                remedy="give etcd another peer port, or take this one off protected_ports",
            )
    if host.peer_port is not None and host.peer_port != spec.peer_port:
        raise RefusedError(
            f"the member listens to its peers on port {host.peer_port}, not {spec.peer_port}",
            remedy="name the member's own peer port",
        )


# --- reading nft's answers ---------------------------------------------------------------------------------


class _Name(msgspec.Struct):
    family: str
    name: str


class _Chain(msgspec.Struct):
    name: str
    hook: str = ""
    policy: str = ""


class _Rule(msgspec.Struct):
    chain: str
    expr: list[dict[str, msgspec.Raw]]


class _Object(msgspec.Struct):
    table: _Name | None = None
    chain: _Chain | None = None
    rule: _Rule | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Object]


class _PortSet(msgspec.Struct):
    set: list[int]


class _Match(msgspec.Struct):
    right: int | _PortSet


def _decode(text: str) -> list[_Object]:
    try:
        return msgspec.json.decode(text, type=_Listing).nftables
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"cannot read what nft lists: {error}") from error


def is_listed(listing: str, table: str) -> bool:
    """Whether ``nft -j list tables`` names the table."""
    return any(item.table == _Name("inet", table) for item in _decode(listing))


def missing_drops(listing: str, check: TableDrops) -> str | None:
    """What ``nft -j list table`` lacks of what the fault put there; ``None``: it is all in place."""
    objects = _decode(listing)
    chains = {item.chain.name: item.chain for item in objects if item.chain is not None}
    for hook in ("input", "output"):
        chain = chains.get(hook)
        if chain is None or chain.hook != hook:
            return f"table {check.table} has no chain on {hook}"
        rules = [item.rule for item in objects if item.rule is not None and item.rule.chain == hook]
        if not rules or "accept" not in _verdicts(rules[0]) or _ports(rules[0]) != set(check.protected):
            return f"the first rule of {hook} does not accept the protected ports"
        drops = sum("drop" in _verdicts(rule) for rule in rules)
        if drops != check.drops:
            return f"{hook} has {drops} drop rules instead of {check.drops}"
    return None


def _verdicts(rule: _Rule) -> set[str]:
    return {name for part in rule.expr for name in part}


def _ports(rule: _Rule) -> set[int]:
    """Ports of a rule's match: nft shows one as a number, several as a set."""
    for part in rule.expr:
        if "match" in part:
            ports = msgspec.json.decode(part["match"], type=_Match).right
            return {ports} if isinstance(ports, int) else set(ports.set)
    return set()
