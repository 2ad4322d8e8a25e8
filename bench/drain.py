"""How fast one Quaff process drains a queue of no-op jobs, beside a bare script loop, in the same run.

    make bench          python bench/drain.py --jobs 60000 --rounds 3 --json FILE

What is measured and what is not: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import redis
from noop import noop, quaff

from quaff.store import embedded
from quaff.store.keys import partition

HERE = Path(__file__).parent
POLL = 0.005  # seconds between two looks at the counter: half a percent of the shortest drain, 1 % of a core
STALL = 20.0  # seconds without progress after which a run has failed


class BenchError(Exception):
    """A run that cannot be counted; the text has what the process said."""


@dataclass(frozen=True)
class Reading:
    """One drain. Rates in jobs a second, CPU in microseconds a job (None where the system does not tell)."""

    rate: float
    seconds: float
    drained: int
    server_us: float
    python_us: float | None


@dataclass(frozen=True)
class Round:
    """Both drains of one round."""

    floor: Reading
    quaff: Reading

    @property
    def ratio(self) -> float:
        """Quaff's part of the floor's rate, in the same round: what shakes the machine shakes both."""
        return self.quaff.rate / self.floor.rate


class Lab:
    """The server and what is read from it."""

    def __init__(self, directory: Path) -> None:
        self.url = f"embedded://{directory.resolve()}"
        self.socket = embedded.ensure(directory)
        self._client = redis.Redis(unix_socket_path=self.socket, protocol=2)
        self._meta = partition("quaff", "default").key("meta")

    def refill(self, send: Callable[[], object]) -> None:
        """An empty server with a fresh append-only file, so that no rewrite of it falls into a drain, and the jobs."""
        self._client.flushall()
        self._client.bgrewriteaof()
        while any(self._client.info("persistence")[f"aof_rewrite_{word}"] for word in ("in_progress", "scheduled")):
            time.sleep(0.02)
        send()

    def succeeded(self) -> int:
        """Jobs that have succeeded since the refill."""
        return int(self._client.hget(self._meta, "succeeded") or 0)

    def cpu(self) -> float:
        """CPU seconds of the server."""
        used = self._client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def versions(self) -> dict[str, str]:
        """The server's name and version, and how it keeps its data."""
        server, keeps = self._client.info("server"), self._client.config_get("append*")
        name = "valkey" if "valkey_version" in server else "redis"
        aof = keeps["appendfsync"] if keeps["appendonly"] == "yes" else "off"
        return {name: server[f"{name}_version"], "aof": aof}

    def close(self) -> None:
        """End the server: the directory is about to go."""
        self._client.shutdown(nosave=True)


def measure(lab: Lab, process: subprocess.Popen[bytes], jobs: int) -> Reading:
    """From the first completion that is seen to the last. What comes before, the start of a process, is not counted."""
    first = _wait(lab, process, 0)
    begin, server, python = time.perf_counter(), lab.cpu(), tree_cpu(process.pid)
    seen = first
    while seen < jobs:
        seen = _wait(lab, process, seen)
    seconds = time.perf_counter() - begin
    counted = jobs - first
    used = tree_cpu(process.pid)
    per_job = None if python is None or used is None else (used - python) / counted * 1e6
    return Reading(counted / seconds, seconds, seen, (lab.cpu() - server) / counted * 1e6, per_job)


def _wait(lab: Lab, process: subprocess.Popen[bytes], last: int) -> int:
    """The counter once it has moved."""
    patience = time.monotonic() + STALL
    while (now := lab.succeeded()) == last:
        if process.poll() is not None:
            raise BenchError(f"it ended with {process.returncode} after {last:,} jobs")
        if time.monotonic() > patience:
            raise BenchError(f"nothing happened for {STALL:g} s after {last:,} jobs")
        time.sleep(POLL)
    return now


def tree_cpu(pid: int) -> float | None:
    """CPU seconds of a process and all below it; None where there is no /proc."""
    if not Path("/proc/self/stat").exists():
        return None
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything: state, parent, ..., and as 12th and 13th user and system time.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return sum(ticks.get(member, 0) for member in family) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], url: str, said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process with default settings, ended at the end; what it said comes with an error."""
    # A variable left over in the shell would make this another benchmark.
    left_over = [name for name in os.environ if name.startswith("QUAFF_") and name != "QUAFF_SERVER_BINARY"]
    environment = {name: value for name, value in os.environ.items() if name not in left_over} | {"QUAFF_URL": url}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=HERE, env=environment, stdin=subprocess.PIPE, stdout=said, stderr=said
    )
    try:
        yield process
    except BenchError as error:
        said.seek(0)
        raise BenchError(f"{' '.join(command)}: {error}\n{said.read().decode(errors='replace')[-4000:]}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def drain(lab: Lab, command: Sequence[str], jobs: int) -> Reading:
    """Fill the queue, run the command, measure."""
    lab.refill(lambda: noop.map((number,) for number in range(jobs)))
    with tempfile.TemporaryFile() as said, running(command, lab.url, said) as process:
        return measure(lab, process, jobs)


def one_round(lab: Lab, jobs: int, threads: int, prefetch: int, *, quaff_first: bool) -> Round:
    """Both, one after the other."""
    floor = ["floor.py", lab.socket, f"--jobs={jobs}", f"--threads={threads}", f"--prefetch={prefetch}"]
    worker = ["-m", "quaff", "worker", "-A", "noop:quaff", "-p", "1", "-c", str(threads)]
    if quaff_first:
        reading = drain(lab, worker, jobs)
        return Round(drain(lab, floor, jobs), reading)
    return Round(drain(lab, floor, jobs), drain(lab, worker, jobs))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {"system": platform.platform(), "cpus": len(_usable_cpus()), "cpu": _cpu_name()}


def _usable_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions(lab: Lab) -> dict[str, str]:
    """Of everything that takes part."""
    found = {"python": platform.python_version(), **lab.versions()}
    for package in ("quaff", "redis", "hiredis", "msgspec"):
        try:
            found["redis-py" if package == "redis" else package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Medians, and the lowest and highest of each."""

    def spread(values: Sequence[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}

    result: dict[str, Any] = {"ratio": spread([each.ratio for each in rounds])}
    for name in ("floor", "quaff"):
        readings: list[Reading] = [getattr(each, name) for each in rounds]
        python = [reading.python_us for reading in readings if reading.python_us is not None]
        result[name] = {
            "rate": spread([reading.rate for reading in readings]),
            "server_us": statistics.median(reading.server_us for reading in readings),
            "python_us": statistics.median(python) if python else None,
        }
    return result


def report(result: dict[str, Any], threads: int) -> None:
    """The table."""
    print(f"{'':>24}{'jobs/s':>8}{'lowest':>9}{'highest':>9}{'server CPU':>13}{'Python CPU':>13}")
    for name, title in (("floor", "bare script loop"), ("quaff", f"quaff worker -p1 -c{threads}")):
        each = result[name]
        rate, python = each["rate"], each["python_us"]
        cpu = f"{each['server_us']:>10.1f} µs{'?' if python is None else f'{python:.1f}':>10} µs"
        print(f"{title:>24}{rate['median']:>8,.0f}{rate['lowest']:>9,.0f}{rate['highest']:>9,.0f}{cpu}")
    ratio = result["ratio"]
    print(f"drain: ratio {ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})")


def run(jobs: int, rounds: int, threads: int, prefetch: int) -> dict[str, Any]:
    """All rounds; prints as it goes."""
    with tempfile.TemporaryDirectory(prefix="quaff-bench-", ignore_cleanup_errors=True) as folder:
        lab = Lab(Path(folder) / "server")
        try:
            quaff.override(url=lab.url)
            about = versions(lab)
            used = ", ".join(map(" ".join, about.items()))
            print(f"drain: {jobs:,} no-op jobs, one process, {threads} threads; {used}", flush=True)
            done: list[Round] = []
            for number in range(rounds):
                # In turns, so that neither always has the cooler machine.
                done.append(one_round(lab, jobs, threads, prefetch, quaff_first=number % 2 == 1))
                last = done[-1]
                rates = f"bare {last.floor.rate:,.0f}/s, quaff {last.quaff.rate:,.0f}/s"
                print(f"round {number + 1}: {rates}, ratio {last.ratio:.2f}", flush=True)
        finally:
            lab.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": about,
        "settings": {"jobs": jobs, "rounds": rounds, "threads": threads, "floor_prefetch": prefetch},
        "rounds": [asdict(each) | {"ratio": each.ratio} for each in done],
        "summary": summary(done),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=60_000, help="jobs a drain (default 60000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--threads", type=int, default=8, help="threads of both (default 8)")
    parser.add_argument("--prefetch", type=int, default=200, help="jobs the bare loop holds at most (default 200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    given = parser.parse_args()
    if min(given.jobs, given.rounds, given.threads, given.prefetch) < 1:
        parser.error("all numbers must be at least 1")
    try:
        result = run(given.jobs, given.rounds, given.threads, given.prefetch)
    except BenchError as error:
        print(f"drain: {error}", file=sys.stderr)
        return 1
    report(result["summary"], given.threads)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
