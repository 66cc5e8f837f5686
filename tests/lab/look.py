"""Runs on a host by its own Python, standard library alone: prints what this tool could leave there, as JSON."""

import hashlib
import json
import socket
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

STATE = Path("/var/lib/etcd-chaos")
DEPLOYED = (
    "etc/etcd-chaos/**/*",
    "etc/systemd/system/etcd-chaos*",
    "opt/etcd-chaos/etcd/*/bin/*",
    "opt/etcd-chaos/agent/*",
)
GROUP_SETTINGS = (
    "cgroup.freeze",
    "cpu.max",
    "cpu.cfs_quota_us",
    "freezer.state",
    "io.max",
    "memory.limit_in_bytes",
    "memory.max",
)
RUNTIME = ("run/systemd/system", "run/systemd/system.control", "run/systemd/transient", "run/etcd-chaos")
UNITS = ("systemctl", "list-units", "--state=active", "--plain", "--no-legend", "etcd-chaos*", "etcdchaos*")
AGENT = ("systemctl", "show", "--property=MainPID", "--value", "etcd-chaos-agent")


def said(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def lines(*argv):
    return sorted(said(*argv).splitlines())


def members():
    """By pid of every etcd: whether it is stopped by a signal, and its binary."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            binary = (process / "exe").readlink()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if binary.name == "etcd":
            found[process.name] = f"{'stopped' if state == 'T' else 'lives'} {binary}"
    return found


def processes():
    """What runs of this tool and of etcd, without the agent's own interpreter flags and this script."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
        except OSError:
            continue
        if any("etcd" in word for word in words):
            found.append(" ".join(word for word in words[:3] if not word.startswith("--data-dir")))
    return sorted(found)


def firewall(program):
    """Rules without counters; empty where there is no such program."""
    path = Path("/usr/sbin") / program
    rules = said(path).splitlines() if path.exists() else []
    return [line.partition(" [")[0] for line in rules if not line.startswith("#")]


def traffic_control():
    """Queueing disciplines with their classes and filters, without counters."""
    found = lines("tc", "qdisc")
    for _, device in socket.if_nameindex():
        for what in (("class",), ("filter",), ("filter", "ingress")):
            shown = lines("tc", what[0], "show", "dev", device, *what[1:])
            found += [f"{device} {' '.join(what)}: {line}" for line in shown]
    return found


def cgroups():
    """Every group of this tool or of etcd, with what limits or freezes it."""
    found = []
    for group in Path("/sys/fs/cgroup").rglob("*etcd*"):
        if group.is_dir():
            told = []
            for name in GROUP_SETTINGS:
                with suppress(OSError):  # not of this controller, or gone meanwhile
                    told.append(f"{name}={(group / name).read_text().strip()}")
            found.append(" ".join([str(group), *told]))
    return sorted(found)


def runtime_files():
    """What lives until the next boot: units and their drop-ins, and a folder of this tool's own."""
    paths = (path for folder in RUNTIME for path in Path("/", folder).rglob("*"))
    return sorted(str(path) for path in paths if "etcd" in str(path) or "/system.control/" in str(path))


def sizes():
    """What the agent keeps; a member that runs takes files away while this looks."""
    for path in STATE.rglob("*"):
        with suppress(FileNotFoundError):
            yield str(path), path.lstat()


def kept_names():
    """The agent's files, without what grows or is about faults that are over."""
    growing = {"faults", "data", "log", "logs", "archive"}
    names = (path.relative_to(STATE) for path in STATE.rglob("*"))
    return sorted(str(name) for name in names if name.parts[0] not in growing and name.suffix != ".jsonl")


def fingerprint(path):
    info = path.lstat()
    content = ""
    if stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        content = str(path.readlink())
    return f"{stat.filemode(info.st_mode)} {info.st_uid} {info.st_gid} {content}"


faults = [json.loads(path.read_text()) for path in (STATE / "faults").glob("*.json")]
over = {"healed", "failed"}
kept = dict(sizes())
mounts = Path("/proc/mounts").read_text().splitlines()
look = {
    "tables": lines("nft", "list", "tables"),
    "rules": lines("nft", "--stateless", "list", "ruleset"),
    "queues": traffic_control(),
    "units": [line.split()[0] for line in lines(*UNITS)],
    "listening": sorted(line.split()[3] for line in said("ss", "-Hltn").splitlines()),
    "mounts": sorted(line for line in mounts if "/credentials/" not in line),
    "members": members(),
    "data": sorted(path.name for path in STATE.glob("data/*")),
    "active": {fault["id"]: fault["state"] for fault in faults if fault["state"] not in over},
    "healed": {fault["id"]: fault["healed_by"] for fault in faults if fault["state"] in over},
    "files": {str(path): fingerprint(path) for name in DEPLOYED for path in Path("/").glob(name)},
    "state": {path: [info.st_size, info.st_mtime_ns] for path, info in kept.items()},
    "agent": int(said(*AGENT)),
    "firewall": [*firewall("iptables-save"), *firewall("ip6tables-save")],
    "cgroups": cgroups(),
    "runtime": runtime_files(),
    "processes": processes(),
    "kept": kept_names(),
}
print(json.dumps(look))
