"""The security rows; ``python -m tests.threats > docs/reference/threats.md`` makes their page anew."""

from __future__ import annotations

from tests.catalogue import Catalogue

#: What somebody may try, and what must come of it.
CATALOGUE: dict[str, dict[int, str]] = {
    "What is stored": {
        1: "bytes that run when they are read (pickle and its kind): not in the package, and never run",
        2: "a message that names code: looked up among the registered tasks, and nowhere else",
        3: "an error that names a class: errors are data, and are never made again",
        4: "a message, result or schedule that was forged, changed, moved or played again: refused",
        5: "keys: rotated without a failed job; an unknown one opens nothing",
        6: "arguments and results at rest: encrypted where there are keys for it",
        7: "something small that unpacks to something huge: not inflated, or within a bound (jobs of RQ's)",
        8: "bytes made to break a parser: bounded in size and depth; only our errors, never a crash",
    },
    "The server": {
        9: "an account that may do too much: rules for each role, read off the scripts",
        10: "scripts made up of data: they are constant, data are arguments",
        11: "names that break out of a key, a pattern or a line: refused",
        21: "a connection whose call was cut short: its reply is nobody else's",
        22: "TLS that is talked down, or a wrong certificate: refused",
        23: "the embedded server: reachable by its own user alone, gone with its users",
    },
    "Web pages": {
        12: "a dashboard open to all",
        13: "a request that another site sends",
        14: "markup in arguments and errors",
        15: "a path that leads elsewhere",
        16: "a server that fetches what somebody asks it to: it calls the webhook of its settings, and nobody else",
        19: "the URL of a job, guessed or somebody else's: not found, in both cases",
        20: "acts of an operator: a right of their own, and written down",
    },
    "Logs and programs": {
        17: "secrets in logs, errors, pages, spans and reports: masked",
        18: "text that forges a line of the log, or speaks to the terminal: escaped",
        24: "the way from the source to the package",
        25: "names without number that use up memory: of queues, tasks and failures there are only so many",
        26: "objects whose text raises, is huge or takes for ever: cut short, at the latest by the limit of their job, "
        "and never the worker's trouble",
        27: "a file in the working directory that hides a module: not imported",
    },
}

#: What cannot be shown yet, and what it waits for.
NOT_YET: dict[int, str] = {}

THREATS = Catalogue(
    "S", "threats", "What somebody may try, and the tests that show what comes of it", CATALOGUE, NOT_YET
)

if __name__ == "__main__":
    print(THREATS.page(), end="")
