"""`python -m tests.benchmarks`: every peer on every problem of the zoo, and the goals.

Kinds of measurement: with none named, single solves and gradients; `--work-precision`, `--growth` and `--ensemble` take
those, `--all` takes every kind. `--quick` takes three problems, and fewer repetitions; `--only rober pollu` these
problems (with `--growth` these families); `--peers symdeq "diffrax by hand"` these peers; `--show` prints what earlier
runs left in tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tests.zoo import PROBLEMS

from . import ensemble, goals, growth, records, single, table, work_precision
from .measure import Effort
from .peers import BATCHES, PEERS

_RESULTS = Path(__file__).resolve().parent / "results"
_PICTURES = _RESULTS.parent.parent.parent / "docs" / "figures"
_KINDS = ("single", "work_precision", "growth", "ensemble")


def main() -> None:
    """Measure, or show what was measured."""
    options = _options()
    kinds = _KINDS if options.all else [kind for kind in _KINDS if getattr(options, kind)] or ["single"]
    if options.show:
        _show()
        return
    print(_where(), flush=True)
    for kind in kinds:
        {"single": _single, "work_precision": _work_precision, "growth": _growth, "ensemble": _ensemble}[kind](options)
    print(f"\n{table.goals(goals.judged(records.load_all(_RESULTS)))}")


def _single(options: argparse.Namespace) -> None:
    problems = _among(options.only, PROBLEMS) or (goals.QUICK if options.quick else tuple(PROBLEMS))
    effort = Effort(rounds=11 if options.quick else 21, compiles=options.compiles, gradients=not options.no_gradients)
    single.run(problems, _among(options.peers, PEERS) or PEERS, effort, options.patience, _RESULTS)
    print(f"\n{table.compile_times(records.load_all(_RESULTS))}", flush=True)


def _work_precision(options: argparse.Namespace) -> None:
    problems = _among(options.only, PROBLEMS) or work_precision.WHERE
    peers = _among(options.peers, PEERS) or work_precision.WHO
    work_precision.run(problems, peers, options.patience, _RESULTS, _PICTURES)


def _growth(options: argparse.Namespace) -> None:
    families = _among(options.only, growth.FAMILIES) or tuple(growth.FAMILIES)
    peers = _among(options.peers, PEERS) or growth.WHO
    growth.run(families, peers, options.limit, _RESULTS, _PICTURES)


def _ensemble(options: argparse.Namespace) -> None:
    ensemble.run(_among(options.peers, BATCHES) or BATCHES, options.patience, _RESULTS)


def _among(chosen: Iterable[str] | None, known: Iterable[str]) -> tuple[str, ...]:
    known = set(known)
    return tuple(name for name in chosen or () if name in known)


def _options() -> argparse.Namespace:
    names, who = (*PROBLEMS, *growth.FAMILIES), (*PEERS, *BATCHES)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="symdeq beside its peers")
    parser.add_argument("--single", action="store_true", help="single solves and gradients, on all the zoo (default)")
    parser.add_argument("--work-precision", action="store_true", help="time against error over tolerances")
    parser.add_argument("--growth", action="store_true", help="systems of growing size")
    parser.add_argument("--ensemble", action="store_true", help="10,000 members at once")
    parser.add_argument("--all", action="store_true", help="all four kinds")
    parser.add_argument("--quick", action="store_true", help="three problems only, fewer repetitions")
    parser.add_argument("--only", nargs="+", choices=names, metavar="PROBLEM", help=f"some of: {', '.join(names)}")
    parser.add_argument("--peers", nargs="+", choices=who, metavar="PEER", help=f"some of: {', '.join(who)}")
    parser.add_argument("--no-gradients", action="store_true", help="measure solves only")
    parser.add_argument("--compiles", type=int, default=1, help="how often to compile from nothing (default 1)")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for an answer (default 120)")
    parser.add_argument("--limit", type=float, default=60.0, help="the same for each entry of --growth (default 60)")
    parser.add_argument("--show", action="store_true", help="measure nothing, print the results of earlier runs")
    return parser.parse_args()


def _show() -> None:
    results = records.load_all(_RESULTS)
    parts = [table.table(problem, results[name]) for name, problem in PROBLEMS.items() if name in results]
    parts.append(table.compile_times(results))
    parts += [work_precision.show(name, results) for name in PROBLEMS if work_precision.points(name, results)]
    parts += [growth.show(family, results) for family in growth.FAMILIES]
    parts += [ensemble.show(kind, results) for kind in ensemble.WHAT]
    parts.append(table.goals(goals.judged(results)))
    print("\n\n".join(parts))


def _where() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "diffrax", "scipy"))
    return f"{versions}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
