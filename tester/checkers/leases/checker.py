"""The rules about leases."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence
from tester.checkers.leases.disturbances import GRACE_NS, Disturbances, disturbances_of
from tester.checkers.leases.ends import LeaseLog
from tester.checkers.leases.lives import NS, Death, Life, Told, lives_of
from tester.checkers.leases.remains import Remains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult

_CLOCK_SHARE = 100
"""Clocks of hosts may run apart by one part in so many."""
_BEHIND_NS = NS
"""A leader may apply so much later than others what is committed."""


class Leases:
    """Leases live as long as they were promised to, and no longer."""

    name = "leases"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for a lease that ended too early, lived too long, or came back; unknown without leases."""
        evidence = Evidence(self.name)
        lives = lives_of(history)
        log = LeaseLog(history)
        ends = list(log.ends())
        for found in ends:
            if (life := lives.get(found.lease)) is not None:
                what = f"its {found.keys} keys were deleted at revision {found.revision}, and nobody asked"
                life.deaths.append(Death(found.seen, what, revisions=(found.revision,)))
        judge = _Judge(evidence, history, log, Remains(history, log, end, ends), disturbances_of(history))
        judged = [life for life in lives.values() if judge.judge(life)]
        if not judged:
            evidence.nothing("no lease was granted")
        elif not judge.disturbances.leaders_known:
            evidence.doubt("nobody watched for leaders: whether leases ended in time cannot be told")
        renewals = sum(len(life.renewals) for life in judged)
        ended = sum(bool(life.deaths or life.revoked) for life in judged)
        return evidence.result(
            f"{len(judged)} leases kept their promise: {renewals} renewals, {ended} seen to end"
            f" ({log.watch.describe()})"
        )


class _Judge:
    def __init__(
        self,
        evidence: Evidence,
        history: History,
        log: LeaseLog,
        remains: Remains,
        disturbances: Disturbances,
    ) -> None:
        self._evidence = evidence
        self._history = history
        self._log = log
        self._remains = remains
        self.disturbances = disturbances

    def judge(self, life: Life) -> bool:
        """Every rule; whether there was something to judge."""
        if len(life.grants) + life.unknown_grants > 1:
            if life.grants:
                maybe = f", and perhaps {life.unknown_grants} times more" if life.unknown_grants else ""
                self._evidence.doubt(f"lease {life.lease} was granted {len(life.grants)} times{maybe}")
            return False
        # Before its grant was answered, a lease need not have been there.
        life.deaths = [death for death in life.deaths if death.asked >= life.seen_alive]
        self._judge_final(life)
        if not life.grants:
            return False
        self._judge_ttl(life)
        self._judge_early(life)
        if self.disturbances.leaders_known:
            self._judge_late(life)
        return True

    def _judge_ttl(self, life: Life) -> None:
        """A lease has one TTL for all its life, whoever leads; what is left of it follows from renewals."""
        grant = life.grants[0]
        for told in life.renewals:
            if told.ttl != grant.ttl:
                self._tell(life, "was renewed for another time than granted", (grant, told), kind="granted")
        for told in life.asked:
            if told.granted != grant.ttl:
                self._tell(
                    life, f"is said to have been granted for {told.granted} s", (grant, told), kind="granted"
                )
            self._judge_left(life, told)

    def _judge_left(self, life: Life, told: Told) -> None:
        before = [one for one in (*life.grants, *life.renewals) if one.ret <= told.call]
        newest = max(before, key=lambda one: one.call, default=None)
        if newest is None or life.revocable_from <= told.ret:
            return
        if self.disturbances.overlap(newest.call, told.ret):
            return  # a deposed leader may still tell what it knows
        promised = newest.call + life.ttl_ns - told.ret - NS  # whole seconds are told, rounded down
        if told.ttl * NS < promised - life.ttl_ns // _CLOCK_SHARE:
            self._tell(life, "has less time left than its last renewal promised", (newest, told), kind="left")
        if told.ttl > life.grants[0].ttl and not self.disturbances.overlap(life.grants[0].call, told.ret):
            self._tell(life, "has more time left than it was granted", (life.grants[0], told), kind="left")

    def _judge_early(self, life: Life) -> None:
        """A lease that nobody revoked does not end before the time that its grant or a renewal gave it."""
        for death in life.deaths:
            if life.revocable_from <= death.at:
                continue
            before = (told for told in (*life.grants, *life.renewals) if told.call <= death.at)
            newest = max(before, key=lambda told: told.call, default=None)
            if newest is None:
                continue
            if death.weak and self.disturbances.overlap(newest.call, death.at):
                continue
            short = newest.call + life.ttl_ns - death.at
            if short > life.ttl_ns // _CLOCK_SHARE:
                what = f"ended at least {short / NS:.3f} s too early"
                self._tell(life, what, (newest,), death, kind=self._kind("early", newest.call, death.at))

    def _judge_final(self, life: Life) -> None:
        """What is dead is neither renewed nor given a key, and has none."""
        deaths = [death for death in life.deaths if not death.weak]
        for told in life.revoked:
            what = self._history.describe(told.operation)
            death = Death(told.ret, what, told.call, (told.operation,), (told.revision,))
            deaths.append(death)
        if not deaths:
            return
        first = min(deaths, key=lambda one: one.at)
        lowest = min((one for one in deaths if one.revisions), key=lambda one: one.revisions, default=None)
        for told in life.renewals:
            if told.call > first.at:
                self._tell(
                    life,
                    "was renewed after its end",
                    (told,),
                    first,
                    kind=self._kind("final", first.at, told.ret),
                )
        for told in life.puts:
            if told.call > first.at:
                kind = self._kind_after(first, told)
                self._tell(life, "was given a key after its end", (told,), first, kind=kind)
            elif lowest is not None and told.revision > lowest.revisions[0]:
                self._tell(life, "was given a key after its end", (told,), lowest, kind="final")
        self._judge_kept(life, first, lowest)
        for told in life.asked:
            # By the memory of one who leads, who may be a moment behind those who answered; and a deposed leader
            # may still tell what it knows.
            if told.call > first.at + _BEHIND_NS and not self.disturbances.overlap(first.at, told.ret):
                self._tell(life, "is said to live after its end", (told,), first, kind="final")

    def _judge_kept(self, life: Life, first: Death, lowest: Death | None) -> None:
        """The keys of the dead are gone: by the order of answers, and by that of revisions."""
        if (shown := life.shown) is not None and shown.call > first.at:
            kind = self._kind_after(first, shown)
            self._tell(life, "had a key after its end", (shown,), first, kind=kind)
        left = self._remains.of(life.lease)
        if lowest is not None and left is not None and left.is_there_at(lowest.revisions[0]):
            both = Death(left.at, f"{lowest.what}; {left.what}", 0, lowest.operations, left.revisions)
            self._tell(life, "has a key after its end", (), both, kind="final")

    def _judge_late(self, life: Life) -> None:
        """A lease that nobody renews ends, and its keys with it."""
        grant = life.grants[0]
        latest = self.disturbances.latest_end(grant.ret + life.ttl_ns, life.ttl_ns)
        unknown = deque(sorted(life.unknown_renewals))
        for told in sorted(life.renewals, key=lambda one: one.call):
            latest = self._with_unknown(life, latest, unknown, told.call)
            if told.call > latest:
                self._tell(
                    life, f"was renewed {_late(told.call, latest)} after its time", (grant, told), kind="late"
                )
            latest = max(latest, self.disturbances.latest_end(told.ret + life.ttl_ns, life.ttl_ns))
        for what, told in self._signs(life):
            latest = self._with_unknown(life, latest, unknown, told.call)
            if told.call > latest:
                self._tell(
                    life, f"{what} {_late(told.call, latest)} after its time", (grant, told), kind="late"
                )
        left = self._remains.of(life.lease)
        if left is not None:
            latest = self._with_unknown(life, latest, unknown, left.at)
            if left.at > latest:
                death = Death(0, left.what, revisions=left.revisions)
                verb = "ended" if left.ended else "has a key"
                over = _late(left.at, latest)
                self._tell(
                    life, f"{verb} {over} after its time", (grant, *life.renewals[-1:]), death, kind="late"
                )
        elif self._remains.unseen(life, latest):
            self._evidence.doubt(
                f"{self._log.watch.describe()}: whether keys of lease {life.lease} went in time, cannot be told"
            )

    @staticmethod
    def _signs(life: Life) -> Iterator[tuple[str, Told]]:
        """The last that clients were told of it while it must have lived; its renewals apart."""
        for what, signs in (("is said to live", life.asked), ("was given a key", life.puts)):
            if signs:
                yield what, max(signs, key=lambda one: one.call)
        if life.shown is not None:
            yield "had a key", life.shown

    def _with_unknown(self, life: Life, latest: int, unknown: deque[tuple[int, int]], until: int) -> int:
        """The latest end, with renewals of unknown outcome that were called by then, which are taken away."""
        while unknown and unknown[0][0] <= min(latest, until):
            _, given_up = unknown.popleft()
            latest = max(latest, self.disturbances.latest_end(given_up + life.ttl_ns, life.ttl_ns))
        return latest

    def _kind(self, kind: str, start: int, end: int) -> str:
        """What a leader does that was deposed, and does not know it, has a name of its own."""
        return "deposed" if self.disturbances.overlap(start, end) else kind

    def _kind_after(self, death: Death, told: Told) -> str:
        """Of what a revision tells the cluster is sure; of the rest somebody said so, who may have been deposed."""
        return "final" if death.revisions else self._kind("final", death.at, told.ret)

    def _tell(
        self, life: Life, what: str, told: tuple[Told, ...], death: Death | None = None, *, kind: str
    ) -> None:
        quoted = [self._history.describe(one.operation) for one in told]
        operations = [one.operation for one in told]
        if death is not None:
            quoted.append(death.what)
            operations += death.operations
        self._evidence.violation(
            f"lease {life.lease} {what}: {'; '.join(quoted)}",
            operations=dict.fromkeys(operations),
            revisions=death.revisions if death is not None else (),
            kind=kind,
        )


def _late(at: int, latest: int) -> str:
    return f"{(at - latest + GRACE_NS) / NS:.3f} s"
