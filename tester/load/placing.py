"""The load of a round where its scenario wants it: in this process, in others beside it, on load hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.parts import part_of
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.load.hosts.loadhost import LoadHost
from tester.load.hosts.worker import HostedWorker
from tester.load.share import WHOLE, Share
from tester.load.workers.fleet import LoadFleet, local_worker
from tester.load.workers.messages import Order
from tester.scenario.model import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_client import AgentClient
    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.events import EventBus
    from tester.history.writer import HistoryWriter
    from tester.load.workers.gathered import Gathered
    from tester.plan import Plan


@dataclass(frozen=True, slots=True)
class LoadSetting:
    """What a load is given."""

    plan: Plan
    number: int
    """Of the round."""
    token: str
    """Names the round on hosts that may have something of another one."""
    prefix: str
    """Of every key."""
    clock: RunClock
    bus: EventBus
    agents: Mapping[str, AgentClient]
    """Of load hosts, by name."""


def place_load(setting: LoadSetting, members: Sequence[Endpoint], writer: HistoryWriter) -> Load | LoadFleet:
    """A load that has not started. Its workers' parts of the history lie beside the writer's."""
    plan, scenario, count = setting.plan, setting.plan.scenario, setting.plan.workers
    seed = plan.load_stream(setting.number).getrandbits(63)
    alone = count == 1 and not plan.load_hosts
    over_grpc = scenario.transport is Transport.GRPC
    load = Load(
        scenario.stressers,
        members,
        writer,
        setting.clock,
        seed,
        setting.prefix,
        connect=channels_of(writer, over_grpc=over_grpc),
        share=WHOLE if alone else Share.rest(count),
    )
    if alone:
        return load
    orders = [
        Order(
            scenario.stressers,
            tuple(members),
            setting.clock,
            seed,
            setting.prefix,
            Share(number, count),
            part_of(writer.path, number + 1),
            over_grpc=over_grpc,
        )
        for number in range(count)
    ]
    if not plan.load_hosts:
        return LoadFleet(load, orders, local_worker)
    hosts = [
        LoadHost(host.name, setting.agents[host.name], setting.clock, writer, setting.bus)
        for host in plan.load_hosts
    ]

    def hosted(number: int, order: Order, gathered: Gathered) -> HostedWorker:
        # In turn: clients are dealt out in turn, too, so that every host gets some of each stresser's.
        host = hosts[(number - 1) % len(hosts)]
        name = f"load worker {number} on {host.name}"
        return HostedWorker(name, f"{setting.token}-w{number}", order, host, gathered)

    return LoadFleet(load, orders, hosted)
