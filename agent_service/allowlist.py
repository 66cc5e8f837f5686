"""Which etcd flags and variables a request may set.

The agent sets names, addresses, directories and logging itself. Whatever opens a port, reads or writes a
file, joins another cluster or turns on a debug interface is not here; neither are ``ETCD_*`` variables, which
are flags by another way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agent_service.errors import RefusedError
from agent_service.failpoints import HTTP_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FLAGS: Final = frozenset(
    {
        # Raft and its log
        "election-timeout",
        "heartbeat-interval",
        "initial-election-tick-advance",
        "max-snapshots",
        "max-wals",
        "pre-vote",
        "snapshot-count",
        "snapshot-catchup-entries",
        "strict-reconfig-check",
        "unsafe-no-fsync",  # bends durability of the member's own data, which is what a test may want to see
        # Storage
        "auto-compaction-mode",
        "auto-compaction-retention",
        "backend-batch-interval",
        "backend-batch-limit",
        "backend-bbolt-freelist-type",
        "quota-backend-bytes",
        # Requests
        "auth-token-ttl",
        "bcrypt-cost",
        "enable-grpc-gateway",
        "enable-v2",
        "grpc-keepalive-interval",
        "grpc-keepalive-min-time",
        "grpc-keepalive-timeout",
        "max-concurrent-streams",
        "max-learners",
        "max-request-bytes",
        "max-txn-ops",
        "v2-deprecation",
        # Words in the log and figures
        "log-level",
        "metrics",
        "warning-apply-duration",
        "warning-unary-request-duration",
        # 3.6 names of what was experimental
        "bootstrap-defrag-threshold-megabytes",
        "compact-hash-check-time",
        "compaction-batch-limit",
        "compaction-sleep-interval",
        "corrupt-check-time",
        "downgrade-check-time",
        "feature-gates",
        "memory-mlock",
        "watch-progress-notify-interval",
        # Experimental
        "experimental-backend-bbolt-freelist-type",
        "experimental-bootstrap-defrag-threshold-megabytes",
        "experimental-compact-hash-check-enabled",
        "experimental-compact-hash-check-time",
        "experimental-compaction-batch-limit",
        "experimental-compaction-sleep-interval",
        "experimental-corrupt-check-time",
        "experimental-downgrade-check-time",
        "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist",
        "experimental-initial-corrupt-check",
        "experimental-max-learners",
        "experimental-memory-mlock",
        "experimental-snapshot-catchup-entries",
        "experimental-stop-grpc-service-on-defrag",
        "experimental-txn-mode-write-with-shared-buffer",
        "experimental-warning-apply-duration",
        "experimental-warning-unary-request-duration",
        "experimental-watch-progress-notify-interval",
    }
)

VARIABLES: Final = frozenset(
    {
        "ETCD_UNSUPPORTED_ARCH",
        "GODEBUG",
        "GOFAIL_FAILPOINTS",
        "GOFAIL_HTTP",
        "GOGC",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "GOTRACEBACK",
    }
)
_LOOPBACK: Final = re.compile(r"127\.0\.0\.1:[0-9]{1,5}")


def check_flags(flags: Mapping[str, str]) -> None:
    """Raise ``RefusedError`` naming every flag that is not on the list."""
    _check("etcd flag", flags, FLAGS)


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise ``RefusedError`` naming every environment variable that is not on the list, or a bad value."""
    _check("environment variable", variables, VARIABLES)
    place = variables.get(HTTP_VARIABLE)
    if place is not None and not _LOOPBACK.fullmatch(place):
        raise RefusedError(
            f"{HTTP_VARIABLE} opens a port for everybody who can reach {place}",
            remedy="write 127.0.0.1:PORT",
        )


def _check(noun: str, asked: Iterable[str], allowed: frozenset[str]) -> None:
    refused = sorted(set(asked) - allowed)
    if refused:
        raise RefusedError(
            f"{noun} not allowed: {', '.join(refused)}",
            remedy=f"leave it out; allowed are {', '.join(sorted(allowed))}",
        )
