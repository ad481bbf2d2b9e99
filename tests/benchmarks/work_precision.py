"""Time against the error achieved, over tolerances from 1e-3 to 1e-11."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tests.zoo import PROBLEMS, Problem

from . import records, reference, table
from .client import Session
from .figures import work_precision as figure
from .measure import Effort, measure
from .peers import BY_HAND, C_LOOP, CVODE, PEERS, SYMDEQ, TUNED
from .problems import named
from .records import Result

FOLDER = "work_precision"
TOLERANCES = tuple(10.0**-k for k in range(3, 12))
WHO = (SYMDEQ, BY_HAND, TUNED, "SciPy LSODA", "SciPy Radau", "SciPy BDF", CVODE, C_LOOP)
WHERE = ("lotka_volterra", "lorenz", "rober", "hires", "pollu", "van_der_pol", "brusselator_1d_32")
# The table compares times at these errors.
_EQUAL = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
_EFFORT = Effort(rounds=5, seconds=0.005, compiles=1, gradients=False, enough=1.0)


def run(problems: Iterable[str], peers: Iterable[str], patience: float, folder: Path, pictures: Path) -> None:
    """Measure, print a table and draw a diagram for each problem."""
    with Session((PEERS[name] for name in peers), patience) as session:
        for name in problems:
            start = time.perf_counter()
            for rtol in TOLERANCES:
                problem = named(name, rtol)
                result = measure(problem, session.clients(), _EFFORT, rtol=rtol, truth=_truth)
                records.save(result, folder / FOLDER, f"{name}_{rtol:.0e}")
            print(f"\n{show(name, records.load_all(folder))}", flush=True)
            print(f"  measured in {time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            draw(name, records.load_all(folder), pictures)


def _truth(problem: Problem) -> np.ndarray:
    """The reference for the problem's own tolerance, which is tighter than all of these."""
    return reference.states(named(problem.name))


def points(name: str, results: Mapping[str, Result]) -> dict[str, list[tuple[float, float, float]]]:
    """By peer: the tolerance, the error relative to |y| + atol/rtol, and the microseconds, from loose to tight."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for rtol in TOLERANCES:
        result = results.get(f"{FOLDER}/{name}_{rtol:.0e}")
        for row in result.rows if result else ():
            if row.solve is not None and row.error is not None and row.error < float("inf"):
                found.setdefault(row.peer, []).append((rtol, row.error * rtol, row.solve.median))
    return found


def at_error(curve: Iterable[tuple[float, float, float]], error: float) -> float | None:
    """Microseconds that a peer takes for an error, between its points by powers; None outside of them."""
    best = sorted((e, us) for _, e, us in curve if e > 0)
    if not best or not best[0][0] <= error <= best[-1][0]:
        return None
    logs = np.log(np.array(best))
    return float(np.exp(np.interp(np.log(error), logs[:, 0], logs[:, 1])))


def show(name: str, results: Mapping[str, Result]) -> str:
    """A line a peer: microseconds and error at each tolerance; and how many times longer it takes for equal errors."""
    curves = points(name, results)
    rows = [(name, *map(_power, TOLERANCES))]
    equal = [("symdeq is faster at the error", *map(_power, _EQUAL))]
    ours = [at_error(curves.get(SYMDEQ, ()), error) for error in _EQUAL]
    for peer, curve in curves.items():
        cells = {rtol: f"{table.number(us)} [{_power(error)}]" for rtol, error, us in curve}
        rows.append((peer, *(cells.get(rtol, "–") for rtol in TOLERANCES)))
        theirs = [at_error(curve, error) for error in _EQUAL]
        ratios = [f"{table.number(b / a)}×" if a and b else "–" for a, b in zip(ours, theirs, strict=True)]
        equal += [(peer, *ratios)] if peer != SYMDEQ else []
    title = "Work and precision, µs [error relative to |y| + atol/rtol], by rtol"
    return "\n".join([title, *table.aligned(rows), *table.aligned(equal)])


def _power(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def draw(name: str, results: Mapping[str, Result], pictures: Path) -> None:
    """The diagram, as SVG."""
    curves = {peer: [(error, us) for _, error, us in curve] for peer, curve in points(name, results).items()}
    if curves:
        figure(PROBLEMS[name], curves, pictures / f"work_precision_{name}.svg")
