"""What the role must know about a host, in one go. Runs on the host's own Python, 3.6 or newer; prints JSON."""

import json
import os
import pwd
import shutil
import subprocess
import sys

TOOLS = "/usr/sbin:/sbin:/usr/bin:/bin"
PYTHONS = ("python3.13", "python3.12", "python3.11", "python3")
DESCRIBE = (
    "import json, os, platform, sys;"
    "print(json.dumps({'executable': sys.executable, 'python': '%d.%d' % sys.version_info[:2],"
    "'machine': platform.machine(), 'glibc': os.confstr('CS_GNU_LIBC_VERSION').split()[-1]}))"
)


def describe_python(command):
    """Python minor, machine and glibc of an interpreter, or None: not there, not glibc, or broken."""
    path = shutil.which(command)
    if path is None:
        return None
    try:
        said = subprocess.check_output([path, "-Ic", DESCRIBE], stderr=subprocess.DEVNULL, timeout=20)
        return json.loads(said.decode())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def state_of(directory, marker):
    """``absent``, ``empty``, ``ours`` (marked) or ``foreign``."""
    if not os.path.lexists(directory):
        return "absent"
    if os.path.islink(directory) or not os.path.isdir(directory):
        return "foreign"
    entries = os.listdir(directory)
    if marker in entries:
        return "ours"
    return "foreign" if entries else "empty"


def free_bytes(directory):
    """Room on the file system that holds, or will hold, a directory."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return shutil.disk_usage(directory).free


def user_comment(name):
    """The comment of a user; None when there is no such user."""
    try:
        return pwd.getpwnam(name).pw_gecos
    except KeyError:
        return None


def complete_agents(root, marker):
    """Names of the agents under a folder whose installation was finished."""
    names = os.listdir(root) if os.path.isdir(root) else []
    return sorted(n for n in names if os.path.exists(os.path.join(root, n, marker)) and n != "current")


def main():
    """Read the question from the first argument, print the answer."""
    asked = json.loads(sys.argv[1])
    current = os.path.join(asked["agents"], "current")
    answer = {
        "pythons": [python for python in map(describe_python, asked["pythons"] or PYTHONS) if python],
        "systemd": os.path.isdir("/run/systemd/system"),
        "nft": shutil.which("nft", path=TOOLS),
        "iptables": shutil.which("iptables-restore", path=TOOLS),
        "fuse": shutil.which("fusermount3", path=TOOLS),
        "directories": {path: state_of(path, asked["marker"]) for path in asked["directories"]},
        "data_roots_absent": [path for path in asked["data_roots"] if not os.path.lexists(path)],
        "free_bytes": {path: free_bytes(path) for path in asked["directories"] + asked["data_roots"]},
        "user_comment": user_comment(asked["user"]) if asked["user"] else None,
        "unit": os.path.exists(asked["unit"]),
        "agents": complete_agents(asked["agents"], asked["marker"]),
        "current": os.path.basename(os.readlink(current)) if os.path.islink(current) else "",
    }
    print(json.dumps(answer))


main()
