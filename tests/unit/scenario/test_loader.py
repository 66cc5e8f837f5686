from __future__ import annotations

from pathlib import Path

import pytest

from tester.errors import ExitCode, ScenarioError
from tester.scenario.faults import PartitionPreset, PartitionSection, PortAction
from tester.scenario.loader import MAX_BYTES, builtin_scenarios, load_scenario, parse_scenario
from tester.scenario.model import DEFAULT_CHECKERS
from tester.scenario.target import TargetWord

HERE = Path(__file__).parent
MINIMAL = """\
name: x
stressers: [{kind: kv}]
cases:
  - {name: a, fault: kill}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "f")
    return caught.value.message.splitlines()


def test_ten_mistakes_are_told_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario((HERE / "bad.yml").read_text(), "bad.yml")
    assert caught.value.message + "\n" == (HERE / "bad.txt").read_text()
    assert caught.value.remedy == "mend the file, then: etcd-chaos scenarios validate bad.yml"
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_minimal_scenario_has_the_documented_defaults() -> None:
    scenario = parse_scenario(MINIMAL, "f")
    case = scenario.cases[0]
    assert (str(case.faults[0].target), case.steady, case.hold, case.settle) == ("one", 1.0, 3.0, 1.0)
    assert scenario.checkers == DEFAULT_CHECKERS
    assert scenario.seed is None


def test_units_become_seconds_bytes_and_rates() -> None:
    scenario = parse_scenario(
        "name: x\nstressers: [{kind: kv, rate: 1500/s, value_size: 2KiB}]\n"
        "cases: [{name: a, fault: pause, hold: 1m30s}]\n",
        "f",
    )
    assert scenario.stressers[0].rate == 1500
    assert scenario.stressers[0].value_size == 2048
    assert scenario.cases[0].hold == 90


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("fault: kill", "fault: kil", "'kil' is not one of its values; did you mean 'kill'?"),
        (
            "kind: kv",
            "kind: xx",
            "stressers[0].kind: 'xx' is not one of its values; known: election, kv, lease, lease-renewer",
        ),
        ("kind: kv", "clients: 3", "stressers[0].kind: is missing; one of kv, lease"),
        ("fault: kill", "fault: kill, hold: 5", "f:4:34: cases[0].hold: 5 is not a duration"),
        (
            "fault: kill",
            "fault: kill, zzz: 5",
            "f:4:28: cases[0].zzz: there is no such key; known: actions, after, allow_quorum_loss, fault, flap",
        ),
        ("{name: a, fault: kill}", "kill", "f:4:5: cases[0]: 'kill' is not a mapping"),
        ("kind: kv", "kind: kv, clients: '5'", "clients: '5' is not a whole number; without quotes or unit"),
        ("kind: kv", "kind: kv, clients: true", "clients: true is not a whole number"),
        ("kind: kv", "kind: kv, clients: 0", "clients: 0 is out of bounds; at least 1"),
        ("kind: kv", "kind: kv, arrivals: open", "stressers[0]: arrivals are open and there is no rate; add"),
        (
            "{kind: kv}",
            "{kind: watcher, prefixes: 26, watchers: 20}",
            "stressers[0]: 26 prefixes with 20 watchers each are 520 connections; ask for 500 at most",
        ),
        ("{kind: kv}", "{kind: watcher, prefixes: 51}", "51 prefixes with 10 watchers each are 510"),
        ("kind: kv", "kind: kv, weights: {pt: 1}", "weights.pt: 'pt' is not one of its values; did you"),
        (
            "name: x",
            "name: x\ncluster: {client_cert_auth: true}",
            "f:2:10: cluster: client_cert_auth needs a CA",
        ),
        (
            "name: x",
            "name: x\ntransport: grpc\ncluster: {tls: auto}",
            "f:2:12: transport: grpc believes no certificate of tls: auto; say transport: h2, or tls: own",
        ),
        ("kind: kv", "kind: kv, clients: 1.5", "clients: 1.5 is not a whole number"),
        ("name: x", "name: x\nrounds:", "f:2:8: rounds: has no value; give it one or remove the key"),
        ("name: x", "name: x\nlimits: [a]", "limits: a list is not a mapping; write KEY: VALUE"),
        ("name: x", "name: x\nseed: -1", "seed: -1 is out of bounds; at least 0"),
        ("name: x", "name: x\ndescription: " + "y" * 501, "description: has 501 characters; at most 500"),
        ("name: x", "name: x\ncluster: {flags: {Up: a}}", "f:2:19: cluster.flags.Up: 'Up' has a wrong form"),
        ("name: x", "name: x\ncluster: {flags: {up: true}}", 'put it in quotes: "true"'),
        ("name: x", 'name: x\ndescription: "\\ud800"', "f:2:14: description: has half a character"),
        ("name: x", 'name: x\n"\\udfff": 1', "f:2:1: (file): has a key with half a character"),
        (
            "fault: kill",
            "fault: kill, target: all",
            "kill of all takes quorum away; say allow_quorum_loss: true",
        ),
        ("fault: kill", "fault: kill, grace: 5s", "grace: means nothing for kill"),
        ("fault: kill", "fault: kill, every: 5s", "every: means nothing for kill; only for crash-loop"),
        ("fault: kill", "fault: crash-loop, every: 100ms", "'100ms' is out of bounds; at least 0.5"),
        ("fault: kill", "fault: partition", "cases[0].partition: is missing; one of leader-alone, minority"),
        (
            "fault: kill",
            "fault: partition, partition: bridge, target: one",
            "target: means nothing for partition",
        ),
        ("fault: kill", "fault: kill, partition: bridge", "partition: means nothing for kill"),
        (
            "fault: kill",
            "fault: kill, action: drop",
            "action: means nothing for kill; only for isolate",
        ),
        ("fault: kill", "fault: partition, partition: brigde", "did you mean 'bridge'"),
        (
            "fault: kill",
            "fault: partition, partition: leader-alone}\ncluster: {members: 2",
            "cases[0].partition: partition leader-alone takes quorum away from 2 members",
        ),
        (
            "fault: kill",
            "fault: partition, partition: majorities-ring}\ncluster: {members: 3",
            "cases[0].partition: partition majorities-ring",
        ),
        ("fault: kill", "hold: 5s", "cases[0].fault: is missing; one of none, stop"),
        ("fault: kill", "fault: kill, faults: []", "cases[0].fault: there is no such key"),
        ("fault: kill", "fault: kill, target: 3 leader", "'3 leader' means nothing; numbers from 1"),
        ("fault: kill", "fault: kill, target: same", "cases[0].target: same: there is no fault before it"),
        ("fault: kill", "fault: kill, after: 1s", "cases[0].after: no fault of the case comes first"),
        (
            "fault: kill",
            "fault: kill, lasts: 1s, flap: {on: 1s, off: 1s}",
            "cases[0].flap: means nothing beside",
        ),
        (
            "fault: kill",
            "faults: [{fault: kill}, {fault: pause, target: same, after: 9s}]",
            "cases[0].faults[1].after: the case holds for 3s, so this fault would never come",
        ),
        (
            "fault: kill",
            "fault: network, preset: very-slow, hold: 5s",
            "cases[0].preset: packets are 5s late, and the fault is there for 5s: none arrives",
        ),
        (
            "fault: kill",
            "faults: [{fault: pause}, {fault: network, target: same, delay: 1s, after: 2s}]",
            "cases[0].faults[1].delay: packets are 1s late, and the fault is there for 1s",
        ),
        (
            "fault: kill",
            "fault: network, delay: 500ms, hold: 9s, flap: {on: 400ms, off: 1s}",
            "cases[0].delay: packets are 0.5s late, and the fault is there for 0.4s",
        ),
        (
            "name: x",
            "name: x\nnemesis: {kind: random, hold: 4s, menu: [{fault: network, preset: very-slow}]}",
            "nemesis.menu[0].preset: packets are 5s late, and the fault is there for 4s",
        ),
        (
            "fault: kill",
            "faults: [{fault: kill}, {fault: pause}]}\ncluster: {members: 3",
            "cases[0].faults: kill + pause (2 of 3) takes quorum away",
        ),
        ("fault: kill", "faults: [{target: one}]", "cases[0].faults[0].fault: is missing; one of stop"),
        (
            "fault: kill",
            "fault: partition, drops: {leader: all - leader}, partition: bridge",
            "cases[0].drops: means nothing beside partition: bridge",
        ),
        (
            "name: x",
            "name: x\nnemesis: chaos",
            "nemesis.kind: 'chaos' is not one of its values; known: random",
        ),
        (
            "name: x",
            "name: x\nnemesis: {kind: random, menu: [{weight: 1, fault: kil}]}",
            "nemesis.menu[0].fault: 'kil' is not one of its values",
        ),
        (
            "name: x",
            "name: x\nnemesis: {kind: random, menu: [{weight: 0, fault: kill}]}",
            "nemesis.menu[0].weight: 0 is out of bounds; more than 0",
        ),
        ("fault: kill", "fault: stop, grace: 10m", "cases[0].grace: '10m' is out of bounds; at most 300s"),
        ("kind: kv", "kind: kv, rate: 9000000/s", "'9000000/s' is out of bounds; at most 1e+06/s"),
        ("fault: kill", "fault: none, target: one", "target: means nothing where the fault is none"),
        ("name: x", "name: x\ncheckers: []", "checkers: names nobody to judge"),
        ("name: x", "name: x\ncheckers: [exits, exits]", "checkers[1]: 'exits' is named twice"),
        (
            "name: x",
            "name: x\ncheckers: [availability]",
            "availability needs to know how long a gap in service may be",
        ),
        ("stressers: [{kind: kv}]", "", "durability judges acknowledged writes, and nothing writes"),
        ("stressers: [{kind: kv}]", "stressers: []", "durability judges acknowledged writes"),
        ("name: x", "name: x\nlimits: {round: 4s}", "limits.round: a round may take 4s"),
        (
            "fault: kill",
            "fault: kill, target: minority}\ncluster: {members: 2",
            "cases[0].target: target minority means nobody in a cluster of 2 members",
        ),
        (
            "fault: kill",
            "fault: kill}\ncluster: {members: 1",
            "kill of one (1 of 1) takes quorum away",
        ),
        (
            "fault: kill",
            "fault: isolate, allow_quorum_loss: true}\ncluster: {members: 1",
            "nobody can be isolated",
        ),
    ],
)
def test_one_mistake_is_one_line(old: str, new: str, expected: str) -> None:
    assert old in MINIMAL
    lines = mistakes(MINIMAL.replace(old, new, 1))
    assert len(lines) == 1
    assert expected in lines[0]


def test_the_same_case_is_fine_where_quorum_stays() -> None:
    text = MINIMAL.replace("fault: kill", "fault: kill, target: minority}\ncluster: {members: 3", 1)
    assert parse_scenario(text, "f").cluster.members == 3


@pytest.mark.parametrize(
    "fault",
    [
        "fault: network, preset: very-slow, hold: 6s",
        "fault: network, delay: 1s",
        "fault: network, loss: 5%, hold: 100ms",
        "fault: network, delay: 500ms, hold: 9s, flap: {on: 1s, off: 1s}",
    ],
)
def test_packets_may_be_as_late_as_the_fault_lets_them_arrive(fault: str) -> None:
    assert parse_scenario(MINIMAL.replace("fault: kill", fault, 1), "f").cases[0].title == "network"


def test_a_rolling_restart_of_all_keeps_quorum() -> None:
    text = MINIMAL.replace("fault: kill", "fault: rolling-restart, target: all", 1)
    assert parse_scenario(text, "f").cases[0].title == "rolling-restart"
    (line,) = mistakes(text + "cluster: {members: 2}\n")
    assert "rolling-restart of all (1 of 2) takes quorum away" in line


def test_hundreds_of_watchers_are_fine() -> None:
    text = MINIMAL.replace("{kind: kv}", "{kind: watcher, prefixes: 25, watchers: 20}")
    assert parse_scenario(text.replace("cases:", "checkers: [watch]\ncases:"), "f").stressers


def test_no_stressers_are_fine_where_nobody_judges_writes() -> None:
    text = MINIMAL.replace("stressers: [{kind: kv}]", "checkers: [recovery, exits]")
    assert parse_scenario(text, "f").stressers == ()


def test_what_the_tree_refuses_is_told_once() -> None:
    assert len(mistakes(MINIMAL.replace("name: x", "name: *x"))) == 1


def test_a_flood_of_mistakes_is_cut() -> None:
    lines = mistakes(MINIMAL + "".join(f"key{n}: 1\n" for n in range(300)))
    assert len(lines) == 101
    assert lines[-1] == "f: and 200 more mistakes"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "is not a mapping"),
        (b"just words\n", "is not a mapping"),
        (b"a: 1\n\xff\xfe", ":2:1: (file): is not UTF-8 text"),
        (b"\x7fELF\x00\x01", "not YAML"),
        (b"#" * (MAX_BYTES + 1), "is larger than 1048576 bytes"),
    ],
)
def test_files_that_are_no_scenarios(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "some.yml"
    path.write_bytes(data)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(path) in caught.value.message
    assert expected in caught.value.message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ScenarioError, match=r"nothing\.yml: No such file or directory"):
        load_scenario("./nothing.yml")


def test_a_directory_is_no_scenario(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="Is a directory"):
        load_scenario(tmp_path)


def test_a_name_that_is_not_built_in() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'quick'"):
        load_scenario("quik")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.yml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    loaded = load_scenario(path)
    assert loaded.scenario.name == "x"
    assert loaded.text == MINIMAL


@pytest.mark.parametrize(
    "name",
    ["quick", "process", "network", "quorum", "composed", "random", "presets", "tls", "tls-auto", "auth"],
)
def test_built_in_scenarios_are_right_and_named_as_their_file(name: str) -> None:
    assert load_scenario(name).scenario.name == name


def test_built_in_scenarios_hit_every_target_with_every_fault_on_processes_and_ports() -> None:
    cases = [case for name in builtin_scenarios() for case in load_scenario(name).scenario.cases]
    faults = [fault for case in cases for fault in case.faults]
    seen = {(fault.kind(), str(fault.target)) for fault in faults}
    kinds = ("stop", "kill", "pause", "restart", "crash-loop", "isolate", "client-port", "peer-port")
    everybody = set(TargetWord) - {TargetWord.LEARNER, TargetWord.SAME, TargetWord.QUORUM}
    assert {(kind, word.value) for kind in kinds for word in everybody} <= seen
    partitions = [fault for fault in faults if isinstance(fault, PartitionSection)]
    wanted = {*PartitionPreset} - {PartitionPreset.MAJORITIES_RING}
    assert {one.partition for one in partitions} - {None} == wanted
    actions = {fault.action for fault in faults if fault.kind() == "client-port"}  # type: ignore[union-attr]
    assert actions == set(PortAction)


def test_the_demo_is_short() -> None:
    cases = load_scenario("quick").scenario.cases
    total = sum(case.steady + case.hold + case.settle for case in cases)
    assert total <= 25


def test_a_fault_on_the_disk_needs_a_layer() -> None:
    text = "name: x\nstressers: [{{kind: kv}}]\n{}cases: [{{name: a, fault: power-loss}}]\n"
    assert parse_scenario(text.format("cluster: {disk: fuse}\n"), "f").cluster.disk == "fuse"
    for cluster in ("", "cluster: {members: 3}\n", "cluster: {disk: bare}\n"):
        (mistake, *_) = mistakes(text.format(cluster))
        assert "power-loss needs a disk layer; write cluster: {disk: fuse}" in mistake


def test_a_throttle_limits_something() -> None:
    text = "name: x\ncluster: {disk: fuse}\ncases: [{name: a, fault: disk-throttle}]\n"
    assert any("a throttle needs bandwidth, operations or both" in mistake for mistake in mistakes(text))


@pytest.mark.parametrize("target", ["majority", "quorum", "all"])
def test_no_majority_is_damaged(target: str) -> None:
    text = "name: x\ncases: [{{name: a, fault: corrupt-file, target: {}, allow_quorum_loss: true}}]\n"
    assert any("what a majority has lost is lost" in mistake for mistake in mistakes(text.format(target)))


def test_load_on_hosts_follows_no_change_of_members() -> None:
    head = "name: x\nworkers_on: load\nstressers: [{kind: kv}]\n"
    case = "cases: [{name: a, fault: kill}]\n"
    assert parse_scenario(head + case, "f").workers_on == "load"
    (mistake,) = mistakes(head + "cluster: {initial: 2}\n" + case)
    assert "load workers cannot follow a cluster whose members change" in mistake
    assert "leave workers_on out" in mistake
    (mistake,) = mistakes(head.replace("load\n", "moon\n") + case)
    assert mistake.startswith("f:2:13: workers_on: 'moon' is not one of its values")
