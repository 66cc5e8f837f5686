"""The process that is a host's power supply: it runs the host, and runs it again when it reboots.

Runs as ``python -I -S holder.py COMMAND...`` with the standard library alone. systemd-nspawn that is given its unit
leaves reboots to whoever started it, and says so with its exit status. SIGTERM goes on to the command.
"""

from __future__ import annotations

import signal
import subprocess
import sys

REBOOT = 133
"""Exit status of systemd-nspawn whose host wants to boot anew."""


def main(command: list[str]) -> int:
    """Run the command until it ends for another reason; returns how it ended."""
    stop = {signal.SIGTERM}
    while True:
        signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # none may come while there is nobody to hand it to
        child = subprocess.Popen(
            command,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, stop),  # noqa: PLW1509 - single-threaded
        )
        signal.signal(signal.SIGTERM, lambda *_, child=child: child.send_signal(signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop)
        code = child.wait()
        if code != REBOOT:
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
