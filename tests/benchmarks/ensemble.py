"""Ten thousand members: parameters near each other, and parameters over four decades of stiffness."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import records, reference, table
from .client import Session
from .measure import Effort, prepared, timed
from .peers import BATCHES, ENSEMBLE
from .problems import SPREADS, ensemble, spread
from .records import Result, Row, Timing

FOLDER = "ensemble"
WHAT = {
    "near": "Robertson's reaction, each rate constant moved by up to 50 % either way",
    "wide": "van der Pol's oscillator to t = 100, μ from 0.1 to 1000",
}
_EFFORT = Effort(rounds=5, seconds=0.01, compiles=1, enough=10.0)


def run(batches: Iterable[str], patience: float, folder: Path) -> None:
    """Measure both spreads, print and write what was found."""
    with Session((BATCHES[name] for name in batches), patience) as session:
        for kind in SPREADS:
            start = time.perf_counter()
            clients = session.clients()
            rows = {name: Row(peer=name) for name in clients}
            answers = prepared(clients, rows, _EFFORT, do="ensemble", spread=kind)
            timings = timed(clients, rows, tuple(answers), "ensemble", _EFFORT)
            for name, timing in timings.items():
                rows[name] = _filled(rows[name], kind, answers[name], timing)
            result = Result(problem=kind, rows=tuple(rows.values()))
            records.save(result, folder / FOLDER)
            print(f"\n{show(kind, {f'{FOLDER}/{kind}': result})}", flush=True)
            print(f"  measured in {time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)


def _filled(row: Row, kind: str, answer: dict[str, Any], timing: Timing) -> Row:
    """Times for each member, and the largest error of the members that were sent along."""
    members = answer["members"]
    each = Timing(rounds=tuple((r, us / members) for r, us in timing.rounds))
    failed = f"{answer['failed']} members failed" if answer["failed"] else ""
    found = np.array(answer["result"], dtype=float)
    errors = [reference.error(ensemble(kind), ys, truth) for ys, truth in zip(found, _truths(kind), strict=True)]
    return replace(row, solve=each, first=answer["first"], error=max(errors), steps=answer["steps"], note=failed)


def _truths(kind: str) -> list[np.ndarray]:
    from .worker import SHOWN

    problem = ensemble(kind)
    params = [tuple(map(float, p)) for p in spread(problem, kind, SHOWN)]
    return [reference.states(replace(problem, params=p)) for p in params]


def show(kind: str, results: Mapping[str, Result]) -> str:
    """A line a peer, times for each member."""
    result = results.get(f"{FOLDER}/{kind}")
    lines = [("", "members", "µs a member", "least", "±", "error", "first s", f"{ENSEMBLE} is faster")]
    ours = result.row(ENSEMBLE) if result else None
    for row in result.rows if result else ():
        timing = row.solve
        ratio = timing.over(ours.solve) if timing and ours and ours.solve and ours is not row else None
        lines.append(
            (
                row.peer,
                f"{BATCHES[row.peer].members:,}",
                table.number(timing and timing.median),
                table.number(timing and timing.best),
                f"{timing.spread:.0%}" if timing else "",
                table.number(row.error),
                table.number(row.first),
                "" if ratio is None else f"{table.number(ratio)}×",
            )
        )
    notes = [f"  {row.peer}: {row.note}" for row in (result.rows if result else ()) if row.note]
    return "\n".join([f"Ensemble: {WHAT[kind]}", *table.aligned(lines), *notes])
