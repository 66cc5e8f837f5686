"""What an ``invalid`` means, for somebody who meets it for the first time: one paragraph a checker or guarantee."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tester.results import Verdict

if TYPE_CHECKING:
    from tester.results import CheckResult

EXPLANATIONS: Final = {
    "kv-hash": (
        "Members apply the same log, so at one revision and one compaction all hold the same keys. They do not: "
        "one of them has lost, kept or bent a write, and clients are answered differently depending on whom they "
        "ask. etcd does not mend this by itself. Keep the data directories, and do not let the odd member become "
        "leader."
    ),
    "durability": (
        "A client was told that its write is done. From then on it may only be overwritten or deleted by a later "
        "write, whatever crashes. It is gone, or another value stands where nobody wrote it: acknowledged data "
        "were lost. Look at what was done to disks and members between the write and the check."
    ),
    "recovery": (
        "All faults were healed and all members are up, yet the cluster did not serve again within the limit of "
        "the scenario. That is an outage for clients, not a loss of data. Compare the limit with election "
        "timeout, size of the data and speed of the disks; if it is generous, read the members' logs from the end "
        "of the fault on."
    ),
    "exits": (
        "A member's process ended although no fault, action or person of this tool ended it. etcd does that when "
        "it cannot go on safely: a panic, a disk that fails, a removal from the cluster. The end of the member's "
        "log says which."
    ),
    "availability": (
        "While clients kept asking, none was answered for longer than the scenario allows. Losing a minority "
        "should cost about one election; more means that the leader was not replaced in time, or that clients "
        "held on to it."
    ),
    "logs": (
        "A member wrote of a panic, of damaged files or of data that differ from its peers'. It may serve on for "
        "now; the line is the earliest sign of what clients will see later."
    ),
    "alarms": (
        "A member raised an alarm that is still active. With NOSPACE the cluster refuses writes until space is "
        "made and the alarm is cleared; with CORRUPT the member has found that its data differ from its peers'."
    ),
    "linearizable": (
        "Every answer carries a revision, and revisions order all writes. Clients may rely on it that one order "
        "explains every answer and respects real time: what had ended before something else began stands before "
        "it. No order does that for the operations named here, so some client acted on an answer that was not "
        "true."
    ),
    "serializable": (
        "A serializable read may be behind, but it must be a state that once was, and one member must not go back "
        "in time between two answers. The answers named here were never a state of the store, or an older one "
        "than the same member had shown."
    ),
    "watch/filter": (
        "A watcher was told of what it had not asked for. Caches built on watches then hold foreign keys."
    ),
    "watch/ordered": (
        "Changes must reach a watcher in the order of revisions, and those of one in the order in which they were "
        "made. Here an older one came after a newer one: whoever applies them in turn ends with the old value, or "
        "with steps of a transaction turned round."
    ),
    "watch/unique": (
        "A watcher was told of one change twice. Whoever counts, or acts once per change, acts twice; a change "
        "that is told again late also undoes what came in between."
    ),
    "watch/atomic": (
        "The changes of one transaction belong together and come in one response. Here they came in two: whoever "
        "acts after the first sees half a transaction."
    ),
    "watch/bookmarkable": (
        "A progress notification of a revision says that everything up to it was delivered. Here an older change "
        "came afterwards: who had resumed from the notification would have missed it for good."
    ),
    "watch/resumable": (
        "A watch from a revision starts there. Here it told of something older, which whoever resumes has applied "
        "already."
    ),
    "watch/reliable": (
        "Every watcher of a key is told of every change, and all of them of the same one. Here a change was left "
        "out, or was told differently than to others or to the client that made it: caches differ from the store, "
        "silently."
    ),
    "watch/header": (
        "Every response says at which revision the member was that sent it. Here it tells of changes that are newer "
        "than that: whoever resumes from the header is told them again, or takes the member for stale."
    ),
    "watch/is-create": (
        "A change says by its create revision and version whether it made the key or changed it. Here that does "
        "not fit what came before: controllers take an update for a new object, or the reverse."
    ),
    "watch/prev-kv": (
        "A watcher asked for keys as they were before each change, and was told something that never was there, "
        "or nothing where there was something."
    ),
    "watch/compaction": (
        "A watch may only be refused because of a compaction if the revision it needs is gone, and somebody asked "
        "for it to go. Here it was refused without: the watcher has to list everything again for nothing, or "
        "history was dropped by mistake."
    ),
    "leases": (
        "A lease lives for its TTL from its last renewal, and its keys with it; once it has ended or was revoked, "
        "it and its keys are gone for good. Locks, elections and service registries rest on that. Here a live "
        "lease ended, or a dead one lived on."
    ),
    "restore": (
        "A snapshot holds everything up to its revision, and a cluster that is restored from it begins"
        " with just that: what was acknowledged up to there is kept, what came later is lost by design. Here"
        " something of the snapshot is missing, or something is there that should not be, or members began"
        " differently."
    ),
    "locks": (
        "At every revision the lock belongs to the oldest key under its name. Here two clients were given it for "
        "one moment, or somebody else wrote what it guards: whatever it protects may be damaged."
    ),
    "elections": (
        "At every revision there is one leader, the oldest key under the election's name, and every observer sees "
        "the same. Here two were elected, or observers disagree: two clients may act as leader at once."
    ),
}


def with_explanation(result: CheckResult) -> CheckResult:
    """The same verdict; if it is ``invalid``, with a paragraph for each kind of violation that has one. Pure."""
    if result.verdict is not Verdict.INVALID:
        return result
    names = [f"{result.checker}/{kind}" for kind in result.kinds] or [result.checker]
    told = [EXPLANATIONS.get(name) or EXPLANATIONS.get(result.checker, "") for name in names]
    return replace(result, explanation="\n".join(dict.fromkeys(filter(None, told))))
