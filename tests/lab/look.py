"""Runs on a host by its own Python, standard library alone: prints what this tool could leave there, as JSON."""

import glob
import hashlib
import json
import os
import stat
import subprocess

STATE = "/var/lib/etcd-chaos"
OURS = (
    "/etc/etcd-chaos/**",
    "/etc/systemd/system/etcd-chaos*",
    "/opt/etcd-chaos/etcd/*/bin/*",
    "/opt/etcd-chaos/agent/*",
)
UNITS = ("systemctl", "list-units", "--state=active", "--plain", "--no-legend", "etcd-chaos*", "etcdchaos*")


def said(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def lines(*argv):
    return sorted(said(*argv).splitlines())


def members():
    """Path of the binary by pid, of every etcd; the state as ``ps`` shows it in front."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/exe"):
        try:
            binary = os.readlink(path)
            with open(os.path.dirname(path) + "/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if os.path.basename(binary) == "etcd":
            found[path.split("/")[2]] = f"{state} {binary}"
    return found


def fingerprint(path):
    info = os.lstat(path)
    content = ""
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        content = os.readlink(path)
    return f"{stat.filemode(info.st_mode)} {info.st_uid} {info.st_gid} {content}"


def active_faults():
    found = {}
    for path in glob.glob(f"{STATE}/faults/*.json"):
        with open(path) as file:
            entry = json.load(file)
        if entry["state"] not in {"healed", "failed"}:
            found[entry["id"]] = entry["state"]
    return found


def state_files():
    found = {}
    for directory, _, names in os.walk(STATE):
        for name in names:
            info = os.lstat(os.path.join(directory, name))
            found[os.path.join(directory, name)] = [info.st_size, info.st_mtime_ns]
    return found


with open("/proc/mounts") as file:
    mounts = sorted(line for line in file.read().splitlines() if "/credentials/" not in line)
print(
    json.dumps(
        {
            "tables": lines("nft", "list", "tables"),
            "queues": lines("tc", "qdisc"),
            "units": [line.split()[0] for line in lines(*UNITS)],
            "listening": sorted(line.split()[3] for line in said("ss", "-Hltn").splitlines()),
            "mounts": mounts,
            "members": members(),
            "data": sorted(os.listdir(f"{STATE}/data")),
            "active": active_faults(),
            "files": {path: fingerprint(path) for name in OURS for path in glob.glob(name, recursive=True)},
            "state": state_files(),
            "agent": int(said("systemctl", "show", "--property=MainPID", "--value", "etcd-chaos-agent")),
        }
    )
)
