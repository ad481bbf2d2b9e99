"""Systems of growing size: from the declaration to the first solution, and what a solve and a step cost."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import scipy.integrate

from tests.zoo import Problem

from . import records, reference, table
from .client import Session
from .figures import growth as figure
from .measure import Effort, measure
from .peers import BY_HAND, C_LOOP, CVODE, PEERS, SYMDEQ, TUNED
from .problems import named
from .records import Result

FOLDER = "growth"
FAMILIES: Mapping[str, tuple[int, ...]] = {
    "brusselator_1d": (32, 64, 128, 256, 512, 1024),
    "mass_action": (50, 100, 200, 500, 1000),
}
WHO = (SYMDEQ, BY_HAND, TUNED, "SciPy LSODA", "SciPy BDF", CVODE, C_LOOP)
_EFFORT = Effort(rounds=5, seconds=0.01, compiles=1, gradients=False, enough=3.0, few=2)
_TIGHT = 1e-9


def run(families: Iterable[str], peers: Iterable[str], patience: float, folder: Path, pictures: Path) -> None:
    """Measure each family, from small to large; a peer that fails or is slow at one size is not asked for larger ones.

    Arguments:
        patience: seconds for one answer; a peer that needs half as long for a size has reached its largest one
    """
    with Session((PEERS[name] for name in peers), patience) as session:
        for family in families:
            start = time.perf_counter()
            failed: dict[str, str] = {}
            for size in FAMILIES[family]:
                problem = named(f"{family}_{size}")
                result = measure(problem, session.clients(without=failed), _EFFORT, truth=truth)
                left_out = tuple(records.Row(peer=peer, note=f"left out: {why}") for peer, why in failed.items())
                records.save(dataclasses.replace(result, rows=(*result.rows, *left_out)), folder / FOLDER)
                failed |= {row.peer: f"N = {size}: {why}" for row in result.rows if (why := _hopeless(row, patience))}
                print(f"  {problem.name} after {time.perf_counter() - start:.0f} s", flush=True)
            print(f"\n{show(family, records.load_all(folder))}", flush=True)
            print(f"  measured in {time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            draw(family, records.load_all(folder), pictures)


def _hopeless(row: records.Row, patience: float) -> str:
    """Why a peer is not asked for larger sizes, or nothing."""
    if row.solve is None or row.first is None:
        return row.note or "not measured"
    seconds = max(row.first, 2e-6 * row.solve.median)
    return f"{seconds:.0f} s for the first solution, or for two more" if seconds > patience / 2 else ""


def truth(problem: Problem) -> np.ndarray:
    """The states at the save points by SciPy's Radau with a sparse Jacobian at tight tolerances, kept on disk."""
    return reference.kept(problem, f"radau{_TIGHT:g}", lambda: _radau(problem))


def _radau(problem: Problem) -> np.ndarray:
    found = scipy.integrate.solve_ivp(
        problem.numpy_rhs, (problem.t0, problem.t1), problem.y0, "Radau", problem.ts, rtol=_TIGHT, atol=_TIGHT * 1e-3,
        jac=problem.numpy_jac_sparse, args=(problem.params,),
    )  # fmt: skip
    if not found.success:
        raise RuntimeError(f"no reference for {problem.name}: {found.message}")
    return found.y.T


def show(family: str, results: Mapping[str, Result]) -> str:
    """A line for each size and peer."""
    lines: list[tuple[str, ...]] = [
        ("", "N", "first s", "solve µs", "±", "steps", "µs a step", "error", "symdeq is faster")
    ]
    notes = []
    for size in FAMILIES[family]:
        result = results.get(f"{FOLDER}/{family}_{size}")
        ours = result.row(SYMDEQ) if result else None
        for row in result.rows if result else ():
            lines.append(_cells(size, row, ours))
            notes += [f"  {row.peer}, N = {size}: {row.note}"] if row.note else []
    return "\n".join([f"{family}, growing", *table.aligned(lines), *notes])


def _cells(size: int, row: records.Row, ours: records.Row | None) -> tuple[str, ...]:
    timing = row.solve
    ratio = timing.over(ours.solve) if timing and ours and ours.solve and ours is not row else None
    return (
        row.peer,
        str(size),
        table.number(row.first),
        table.number(timing and timing.median),
        f"{timing.spread:.0%}" if timing else "",
        "" if row.steps is None else str(row.steps),
        table.number(timing.median / row.steps if timing and row.steps else None),
        table.number(row.error),
        "" if ratio is None else f"{table.number(ratio)}×",
    )


def draw(family: str, results: Mapping[str, Result], pictures: Path) -> None:
    """Two diagrams: first solutions, and solves, by the number of states."""
    solves: dict[str, list[tuple[float, float]]] = {}
    firsts: dict[str, list[tuple[float, float]]] = {}
    for size in FAMILIES[family]:
        result = results.get(f"{FOLDER}/{family}_{size}")
        for row in result.rows if result else ():
            if row.solve is not None and row.first is not None:
                states = len(named(f"{family}_{size}").states)
                solves.setdefault(row.peer, []).append((states, row.solve.median))
                firsts.setdefault(row.peer, []).append((states, row.first))
    if solves:
        figure(family, solves, pictures / f"growth_{family}_solve.svg", "time of a solve in µs")
        figure(family, firsts, pictures / f"growth_{family}_first.svg", "declaration to first solution in s")
