"""The fingerprint that the tests of faults rely on: whatever is left on a host, it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tests.lab.rig import Look

if TYPE_CHECKING:
    from tests.lab.rig import Rig

GROUP: Final = """
group=/sys/fs/cgroup/etcd-chaos-left-group
[ ! -d /sys/fs/cgroup/unified ] || group=/sys/fs/cgroup/unified/etcd-chaos-left-group
"""
PREPARE: Final = f"""
{GROUP}
mkdir -p $group /tmp/left
cp /bin/sleep /tmp/left/etcd
"""
CLEAN_UP: Final = f"""
{GROUP}
rmdir $group
rm -r /tmp/left
"""
LEAVE: Final = f"""
{GROUP}
nft add table inet etcd_chaos_left
nft add chain inet etcd_chaos_left left
iptables -t raw -A PREROUTING -p tcp --dport 9 -j ACCEPT
tc qdisc add dev lo root handle 7: htb
tc class add dev lo parent 7: classid 7:1 htb rate 1gbit
tc filter add dev lo parent 7: protocol ip u32 match ip dport 9 0xffff flowid 7:1
mount -t tmpfs left /mnt
echo 1 > $group/cgroup.freeze
systemd-run --quiet --unit=etcd-chaos-left sleep 600
setsid -f bash -c 'echo $$ > /tmp/left/pid; exec /tmp/left/etcd 600' < /dev/null > /dev/null 2>&1
setsid -f bash -c 'echo $$ > /tmp/left/listener; exec python3 - left' > /dev/null 2>&1 <<'END'
import socket, time
left = socket.create_server(("127.0.0.1", 9))
time.sleep(600)
END
mkdir -p /var/lib/etcd-chaos/data/left /var/lib/etcd-chaos/faults
touch /var/lib/etcd-chaos/left /etc/etcd-chaos/left
echo '{{"id": "left", "state": "injected"}}' > /var/lib/etcd-chaos/faults/left.json
until [ -s /tmp/left/pid ] && ss -Hltn | grep -q 127.0.0.1:9; do sleep 0.1; done
"""
TAKE_AWAY: Final = f"""
{GROUP}
kill $(cat /tmp/left/pid /tmp/left/listener)
systemctl stop etcd-chaos-left
rm -r /var/lib/etcd-chaos/data/left /var/lib/etcd-chaos/faults/left.json /var/lib/etcd-chaos/left
rm /etc/etcd-chaos/left
echo 0 > $group/cgroup.freeze
umount /mnt
tc qdisc del dev lo root
iptables -t raw -D PREROUTING -p tcp --dport 9 -j ACCEPT
nft delete table ip raw
nft delete table inet etcd_chaos_left
"""
SIGN: Final = {
    "tables": "table inet etcd_chaos_left",
    "rules": "tcp dport 9",
    "queues": "class htb 7:1",
    "units": "etcd-chaos-left.service",
    "listening": "127.0.0.1:9",
    "mounts": "left /mnt tmpfs",
    "members": "lives /tmp/left/etcd",
    "data": "left",
    "active": "left",
    "files": "/etc/etcd-chaos/left",
    "firewall": "--dport 9",
    "cgroups": "etcd-chaos-left-group cgroup.freeze=1",
    "runtime": "/run/systemd/transient/etcd-chaos-left.service",
    "processes": "left/etcd 600",
    "kept": "left",
}
"""By part of the fingerprint: by what it is known to have seen it."""


async def test_whatever_is_left_on_a_host_is_told(rig: Rig) -> None:
    host = rig.hosts[0]
    async with rig.broken(host, PREPARE, CLEAN_UP):
        before = (await rig.look(host)).footprint
        async with rig.broken(host, LEAVE, TAKE_AWAY):
            left = (await rig.look(host)).footprint
        after = (await rig.look(host)).footprint
    ignored = {name for name in Look.__struct_fields__ if not getattr(left, name)}
    assert ignored <= {"healed", "state", "agent"}, "what every fault may change"
    assert SIGN.keys() | ignored == {*Look.__struct_fields__}
    for part, sign in SIGN.items():
        assert sign not in _text(before, part), part
        assert sign in _text(left, part), part
    assert after == before


def _text(look: Look, part: str) -> str:
    return msgspec.json.encode(getattr(look, part)).decode()
