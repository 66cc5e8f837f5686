"""A fault's own nftables table: written, looked for, read. No other table is ever touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from agent_service.errors import UnavailableError
from agent_service.faults.nft import NFT
from agent_service.faults.steps import Exec, FaultSteps, TableAbsent, TableBlocks

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIORITY: Final = -300
"""Of the raw table: before connection tracking and any rule that lets known connections through."""


def table_name(fault_id: str) -> str:
    """The fault's own table; ids have no underscores, so two of them never meet."""
    return f"etcd_chaos_{fault_id.replace('-', '_')}"


def table_steps(
    fault_id: str, incoming: Sequence[str], outgoing: Sequence[str], protected: tuple[int, ...]
) -> FaultSteps:
    """Load rules as a table of the fault's own and take it away again.

    Args:
        fault_id: names the table.
        incoming: rules on what this host receives, each with a verdict that blocks.
        outgoing: rules on what it sends.
        protected: ports of this host that pass whatever the rules say.
    """
    table = table_name(fault_id)
    ruleset = (
        f"{_fresh(table)}"
        f"table inet {table} {{\n"
        f"{_chain('input', 'd', incoming, protected)}"
        f"{_chain('output', 's', outgoing, protected)}"
        "}\n"
    )
    looking = (NFT, "-j", "list", "table", "inet", table)
    return FaultSteps(
        inject=(Exec((NFT, "-f", "-"), ruleset),),
        verify_injected=(TableBlocks(looking, table, len(incoming), len(outgoing), protected),),
        undo=(Exec((NFT, "-f", "-"), _fresh(table)),),
        verify_healed=(TableAbsent((NFT, "-j", "list", "tables"), table),),
    )


def _fresh(table: str) -> str:
    """Delete the table; adding it first makes that no error when it is not there. One transaction."""
    return f"add table inet {table}\ndelete table inet {table}\n"


def _chain(hook: str, own_side: str, rules: Sequence[str], protected: tuple[int, ...]) -> str:
    if not rules:
        return ""
    ports = ", ".join(map(str, protected))
    lines = (
        f"type filter hook {hook} priority {PRIORITY}; policy accept;",
        f"tcp {own_side}port {{ {ports} }} accept",
        *rules,
    )
    return f"  chain {hook} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


# --- reading nft's answers ---------------------------------------------------------------------------------


_BLOCKING: Final = frozenset({"drop", "reject"})


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


def missing_rules(listing: str, check: TableBlocks) -> str | None:
    """What ``nft -j list table`` lacks of what the fault put there; ``None``: it is all in place."""
    objects = _decode(listing)
    chains = {item.chain.name: item.chain for item in objects if item.chain is not None}
    for hook, wanted in (("input", check.incoming), ("output", check.outgoing)):
        if wanted == 0:
            continue
        chain = chains.get(hook)
        if chain is None or chain.hook != hook:
            return f"table {check.table} has no chain on {hook}"
        rules = [item.rule for item in objects if item.rule is not None and item.rule.chain == hook]
        if not rules or "accept" not in _verdicts(rules[0]) or _ports(rules[0]) != set(check.protected):
            return f"the first rule of {hook} does not accept the protected ports"
        blocking = sum(bool(_BLOCKING & _verdicts(rule)) for rule in rules)
        if blocking != wanted:
            return f"{hook} has {blocking} rules that block instead of {wanted}"
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
