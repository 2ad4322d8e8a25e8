"""``python -m bench``: measure, write it down, print the table and the targets."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import environments, history, report
from bench.contestant import OWN, PEERS, Contestant, Failed
from bench.machine import machine
from bench.plan import DRAINS, FULL, QUICK
from bench.results import FOLDER, Results
from bench.run import MEASURES, run
from bench.server import CONFIGURATION, Server


def main() -> int:
    """The command; 1 where one of our own could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="and peers: all, or these")
    parser.add_argument("--own", nargs="+", default=OWN, choices=OWN, metavar="NAME", help="Quaff and floors [all]")
    parser.add_argument(
        "--only", nargs="+", default=MEASURES, metavar="NAME", help="measures, or 'drain ' and the name of one [all]"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds [3]")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all works, not for figures")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where to [bench/results, by date and time]")
    given = parser.parse_args()
    peers = () if given.peers is None else given.peers or PEERS
    for names, known in ((peers, PEERS), (given.only, (*MEASURES, *(f"drain {cell.name}" for cell in DRAINS)))):
        if strange := [name for name in names if name not in known]:
            parser.error(f"{strange[0]!r} is none of {'; '.join(known)}")
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    sizes = QUICK if given.quick else FULL
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "configuration": CONFIGURATION,
        "rounds": given.rounds,
        "sizes": asdict(sizes),
    }
    results = Results(about)
    with tempfile.TemporaryDirectory(prefix="quaff-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Server(folder) as server:
            about["server"] = server.version()
        contestants = [Contestant(each, folder) for each in given.own]
        for each in peers:
            if why := environments.ready(each):
                results.absent[each] = why
                continue
            try:
                contestants.append(Contestant(each, folder))
            except Failed as error:
                results.absent[each] = str(error)
        results.contestants = {each.name: each.about | {"is_peer": each.is_peer} for each in contestants}
        run(results, contestants, given.only, given.rounds, sizes, folder)
    about["load_after"] = os.getloadavg()[0]
    if given.out or not given.quick:
        path = given.out or FOLDER / f"{about['date'][:16].replace(':', '')}{'-peers' if peers else ''}.json"
        results.write(path)
        report.write(path)
        if not given.out:
            history.write()
    print(report.text(results))
    return any(each.queue in OWN for each in results.failures())


if __name__ == "__main__":
    sys.exit(main())
