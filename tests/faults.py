"""The fault catalogue; ``python -m tests.faults > docs/reference/faults.md`` makes its page anew."""

from __future__ import annotations

from tests.catalogue import Catalogue

#: What goes wrong, and what must come of it.
CATALOGUE: dict[str, dict[int, str]] = {
    "Worker processes": {
        1: "a process is killed, idle or in a job: the job runs again at once, nothing is lost",
        2: "a process stands still for longer than its lease and comes back: what it records is refused",
        3: "memory runs out: as 1, and the reason is told",
        4: "a process dies in the middle of a batch: what was claimed and not begun is charged nothing",
        5: "a process dies between a task's effect and its record: it runs again, with the same id, recorded once",
        6: "a stop, twice, or one that something wants to hold up: everything ended or given back in time",
        7: "a job that does not end: cut short at its limit, or ended with its process",
        8: "C code that holds the interpreter for longer than a lease: the lease is kept",
        9: "renewing leases fails: said, tried again; a process whose lease lapses takes nothing more, and is replaced",
        10: "SystemExit, KeyboardInterrupt, CancelledError and their kind in a task: an outcome like any other",
        11: "fork after the first call: no connection and no waiting job is shared",
        12: "a segfault, a stack that overflows: as 1, and the signal is told",
        13: "a coroutine is cancelled in the middle of a call: its reply is nobody else's answer",
    },
    "The server and its disk": {
        14: "killed without an append-only file: what it had not saved is lost, workers go on",
        15: "killed with one: nothing that was acknowledged is lost, but what it held back for its disk (everysec)",
        16: "the power fails: the state on disk is consistent, whichever byte was the last",
        17: "the power fails with appendfsync always: nothing that was acknowledged is lost",
        18: "the server comes back empty: workers go on and say so",
        19: "a damaged append-only file",
        20: "a failover that loses acknowledged writes: no false end, no job held for ever",
        21: "two primaries at a time: what the one that loses has taken is gone, and one of them says how a job ended",
        22: "the disk is full: new jobs and results wait, nothing is lost",
        23: "the memory is full: new jobs are refused, everything else goes on and frees it",
        24: "a server that evicts keys: said before and after it, and an audit finds the jobs that are gone",
        25: "a slow server: no lease is lost to it",
        26: "an outage longer than a lease: living workers keep their jobs",
    },
    "Connections": {
        27: "refused before anything was sent: tried again",
        28: "the reply is lost after the call was applied: the same call again changes nothing",
        29: "half a command",
        30: "a line that went silent: noticed, and another one opened",
        31: "a reply that comes after its time: matched to no other call",
        32: "a call that is applied long after its sender gave up: harmless",
        33: "a reply that never comes from a healthy server: as 28",
        34: "a thousand clients come back at once",
        35: "wrong or changed credentials: said loudly, tried slowly; a worker keeps what it has, and goes on later",
    },
    "What a server may answer": {
        36: "BUSY",
        37: "READONLY",
        38: "NOSCRIPT",
        39: "LOADING",
        40: "MOVED, ASK",
        41: "TRYAGAIN",
        42: "CLUSTERDOWN",
        43: "CROSSSLOT: cannot happen, all keys of a call are in one slot",
        44: "OOM, MISCONF, NOREPLICAS: refused before anything is done",
        45: "an error in the middle of a script, from a key of another type: that queue alone waits, and it is said",
        46: "NOPERM",
    },
    "Time": {
        47: "a worker's clock is wrong: no effect",
        48: "the server's clock jumps ahead",
        49: "the server's clock jumps back",
        50: "a failover to a server with another clock: as 48 and 49",
        51: "summer time",
        52: "a machine sleeps: as 2",
    },
    "Messages and code": {
        53: "arguments or results that are too large: refused with the limit, before anything of them is sent",
        54: "a task that kills its process: three starts, then kept as failed; its neighbours unharmed",
        55: "a task that nobody here knows: waits for a worker that does",
        56: "bytes that nobody of us wrote: kept as failed, never run",
        57: "messages of another version: what must be understood waits for who understands it",
        58: "data that a later release has changed: not touched",
        59: "a result that cannot be stored: a failure that says why",
    },
    "Races and load": {
        60: "cancelled while it starts, ends, fails or is given back: one end, never changed",
        61: "the same enqueue again, before, in and after the run",
        62: "two schedulers",
        63: "a million jobs due at once: in bounded steps",
        64: "a million jobs in line: as fast as a thousand",
        65: "asked for a result while it expires: always one of the true answers",
        66: "a heartbeat, a hand-back or a retry against a reap: whoever came first",
        67: "purge and pause while jobs run",
        68: "the last job of a group ends twice",
        69: "after any of these: a worker works again within seconds",
    },
}

#: What cannot be shown yet, and what it waits for.
NOT_YET: dict[int, str] = {}

FAULTS = Catalogue("F", "faults", "What goes wrong, and the tests that show what comes of it", CATALOGUE, NOT_YET)

if __name__ == "__main__":
    print(FAULTS.page(), end="")
