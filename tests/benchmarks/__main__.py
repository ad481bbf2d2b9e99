"""`python -m tests.benchmarks`: every peer on every problem of the zoo, and the goals.

`--quick` takes the problems with goals only, and fewer repetitions; `--only rober pollu` these problems; `--peers
symdeq "diffrax by hand"` these peers; `--show` prints what earlier runs left in tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

from tests.zoo import PROBLEMS

from . import goals, records, table
from .client import started
from .measure import Effort, measure
from .peers import PEERS

_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Measure, or show what was measured."""
    options = _options()
    if options.show:
        _show({path.stem: records.load(path) for path in _RESULTS.glob("*.json")})
        return
    chosen = options.only or (_with_goals() if options.quick else list(PROBLEMS))
    compiles = options.compiles or (1 if options.quick else 2)
    effort = Effort(rounds=11 if options.quick else 21, compiles=compiles, gradients=not options.no_gradients)
    clients = started([PEERS[name] for name in options.peers or PEERS], options.patience)
    print(_where(), flush=True)
    results = {}
    try:
        for name in chosen:
            start = time.perf_counter()
            results[name] = measure(PROBLEMS[name], clients, effort)
            records.save(results[name], _RESULTS)
            print(f"\n{table.table(PROBLEMS[name], results[name])}", flush=True)
            print(f"  measured in {time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            lost = [PEERS[peer] for peer, client in clients.items() if not client.alive]
            clients |= started(lost, options.patience)
    finally:
        for client in clients.values():
            client.close()
    print(f"\n{table.goals(goals.judged(results))}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="symdeq beside its peers on the zoo"
    )
    parser.add_argument("--quick", action="store_true", help="the problems with goals only, fewer repetitions")
    parser.add_argument(
        "--only", nargs="+", choices=PROBLEMS, metavar="PROBLEM", help=f"some of: {', '.join(PROBLEMS)}"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="PEER", help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--no-gradients", action="store_true", help="measure solves only")
    parser.add_argument("--compiles", type=int, help="how often to compile from nothing (default 2, quick 1)")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for an answer (default 120)")
    parser.add_argument("--show", action="store_true", help="measure nothing, print the results of earlier runs")
    return parser.parse_args()


def _with_goals() -> list[str]:
    return list(dict.fromkeys(goal.problem for goal in goals.GOALS))


def _show(results: dict[str, records.Result]) -> None:
    for name, problem in PROBLEMS.items():
        if name in results:
            print(f"{table.table(problem, results[name])}\n")
    print(table.goals(goals.judged(results)))


def _where() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "diffrax", "scipy"))
    return f"{versions}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
