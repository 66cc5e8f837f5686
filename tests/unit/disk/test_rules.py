"""What a layer does to operations: who is meant, how long it takes, and that waiting ends."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from agent_service.disk.messages import Delay, Fail, Full, Throttle
from agent_service.disk.room import Room
from agent_service.disk.rules import Rules, scope_of, seconds_of
from agent_service.disk.unsynced import BLOCK

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.disk.messages import Distribution


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/member/wal/0000.wal", "wal"),
        ("/member/wal.tmp/0.tmp", "wal"),
        ("/member/snap/db", "db"),
        ("/member/snap/0001.snap", "db"),
        ("/member/wal", "all"),
        ("/.etcd-chaos-owned", "all"),
        ("/wal", "all"),
    ],
)
def test_files_by_the_directories_they_are_in(path: str, scope: str) -> None:
    assert scope_of(path) == scope


@pytest.mark.parametrize("distribution", ["uniform", "normal", "exponential"])
def test_no_delay_is_shorter_than_promised(distribution: Distribution) -> None:
    rule = Delay("all", ("fsync",), 0.3, 0.05, distribution)
    chance = random.Random(7)
    drawn = [seconds_of(rule, chance) for _ in range(2000)]
    assert min(drawn) >= rule.least_seconds
    mean = 0.35 if distribution == "exponential" else 0.3
    assert abs(sum(drawn) / len(drawn) - mean) < 0.01
    assert max(drawn) - min(drawn) > 0.08


def test_a_delay_without_jitter_is_always_the_same() -> None:
    rule = Delay("all", ("fsync",), 0.3)
    assert {seconds_of(rule, random.Random(n)) for n in range(9)} == {0.3} == {rule.least_seconds}


def test_errors_meet_the_files_and_operations_they_are_meant_for() -> None:
    rules = Rules(random.Random(1))
    rules.put("f", Fail("wal", ("fsync",)))
    with pytest.raises(OSError, match="Input/output") as error:
        rules.before("fsync", "wal", 0)
    assert error.value.errno == errno.EIO
    rules.before("fsync", "db", 0)
    rules.before("write", "wal", 1)
    rules.put("g", Fail("all", ("write",)))
    with pytest.raises(OSError, match="Input/output"):
        rules.before("write", "wal", 1)
    rules.drop("f")
    rules.before("fsync", "wal", 0)
    assert (rules.failed, rules.delayed, rules.active) == (2, 0, True)
    rules.drop("g")
    assert not rules.active


def test_who_waits_goes_on_when_the_rule_goes() -> None:
    rules = Rules(random.Random(1))
    rules.put("f", Delay("all", ("fsync",), 600.0))
    waiting = threading.Thread(target=rules.before, args=("fsync", "wal", 0), daemon=True)
    waiting.start()
    while not rules.delayed:
        time.sleep(0.001)
    rules.drop("f")
    waiting.join(30)
    assert not waiting.is_alive()


def test_who_waits_goes_on_when_the_power_goes() -> None:
    rules = Rules(random.Random(1))
    rules.put("f", Delay("all", ("fsync",), 600.0))
    waiting = threading.Thread(target=rules.before, args=("fsync", "wal", 0), daemon=True)
    waiting.start()
    while not rules.delayed:
        time.sleep(0.001)
    rules.wake()
    waiting.join(30)
    assert not waiting.is_alive()
    assert rules.snapshot() == {"f": Delay("all", ("fsync",), 600.0)}


def test_a_throttle_takes_its_time() -> None:
    rules = Rules(random.Random(1))
    rules.put("f", Throttle(bytes_per_second=1_000_000, operations_per_second=0))
    begin = time.monotonic()
    for _ in range(5):
        rules.before("write", "db", 10_000)
    assert time.monotonic() - begin >= 0.05
    rules.put("f", Throttle(bytes_per_second=0, operations_per_second=100))
    begin = time.monotonic()
    for _ in range(5):
        rules.before("fsync", "db", 0)
    assert time.monotonic() - begin >= 0.05


def test_full_is_no_rule_on_operations() -> None:
    rules = Rules(random.Random(1))
    rules.put("f", Full(0))
    assert not rules.active
    rules.before("write", "db", 1)


def test_room_counts_blocks_and_not_bytes(tmp_path: Path) -> None:
    old = tmp_path / "old"
    with old.open("wb") as file:
        file.write(bytes(BLOCK))
        file.seek(9 * BLOCK)
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(old, os.O_RDONLY)
    room = Room(2 * BLOCK, [descriptor])
    inode = os.fstat(descriptor).st_ino
    os.close(descriptor)
    assert room.take(inode, 10, BLOCK) == BLOCK, "in place"
    assert room.take(inode, 9 * BLOCK, 9 * BLOCK + 1) == 9 * BLOCK + 1, "in place"
    assert room.left == 2
    assert room.take(inode, 5 * BLOCK, 5 * BLOCK + 1) == 5 * BLOCK + 1, "a hole"
    assert room.take(99, 0, 3 * BLOCK) == BLOCK, "as far as there is room"
    with pytest.raises(OSError, match="No space left"):
        room.take(99, BLOCK, BLOCK + 1)
    room.give_back(99)
    assert room.left == 1
    room.give_back(inode, BLOCK)
    assert room.left == 3
