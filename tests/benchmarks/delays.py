"""What a delay costs: `python -m tests.benchmarks.delays`

Each equation is solved with its delay and without it, where the delayed value is the present one, by the same solver in
one compiled call; and with it by SciPy, piece by piece (DOP853 with dense output), which is what one writes by hand.
The two are timed in turns, the least time of all rounds counts, and errors are against a solve at 1e-10.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symdeq as sd
from symdeq import D, Eq
from tests.solvers.test_delayed import by_steps

from .table import aligned, number

SOLVERS: dict[str, Any] = {"auto": "auto", "Rodas5P": sd.Rodas5P()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """An equation of one lag.

    Arguments:
        name: for the table
        declare: makes the system, given what stands for the delayed value of a state
        lag: its length
        t1: the end
        start: the state before and at the start
        slope: the same for SciPy, a function (t, y, [delayed])
    """

    name: str
    declare: Callable[[Callable[[Any], Any]], list[Any]]
    lag: float
    t1: float
    start: tuple[float, ...]
    slope: Callable[..., Any]


def _rabbits(delayed: Callable[[Any], Any]) -> list[Any]:
    x, y = sd.states(x=1.0, y=1.0)
    return [Eq(D(x), (2.2 - y) * delayed(x)), Eq(D(y), (2.0 * x - 0.4) * y)]


def _glass(delayed: Callable[[Any], Any]) -> list[Any]:
    x = sd.state("x", 0.5)
    return [Eq(D(x), 0.2 * delayed(x) / (1 + delayed(x) ** 10) - 0.1 * x)]


def _reaction(delayed: Callable[[Any], Any]) -> list[Any]:
    """ROBER's kinetics, whose product slows the first step a lag later."""
    x, y, z = sd.states(x=1.0, y=0.0, z=0.0)
    first = 0.04 * x / (1 + delayed(z))
    return [
        Eq(D(x), -first + 1e4 * y * z),
        Eq(D(y), first - 1e4 * y * z - 3e7 * y**2),
        Eq(D(z), 3e7 * y**2),
    ]


PROBLEMS = (
    Problem(
        name="Lotka-Volterra, lag 0.1",
        declare=_rabbits,
        lag=0.1,
        t1=10.0,
        start=(1.0, 1.0),
        slope=lambda s, v, past: [(2.2 - v[1]) * past[0][0], (2.0 * v[0] - 0.4) * v[1]],
    ),
    Problem(
        name="Mackey-Glass, lag 14",
        declare=_glass,
        lag=14.0,
        t1=280.0,
        start=(0.5,),
        slope=lambda s, v, past: [0.2 * past[0][0] / (1 + past[0][0] ** 10) - 0.1 * v[0]],
    ),
    Problem(
        name="stiff kinetics, lag 10",
        declare=_reaction,
        lag=10.0,
        t1=100.0,
        start=(1.0, 0.0, 0.0),
        slope=lambda s, v, past: None,
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One problem by one solver; times in seconds, steps counted with those that were rejected."""

    problem: str
    solver: str
    time: float
    steps: int
    error: float
    plain: float
    plain_steps: int
    by_hand: float | None

    @property
    def ratio(self) -> float:
        """Of a step with the delay to one without."""
        return (self.time / self.steps) / (self.plain / self.plain_steps)


def solved(problem: Problem, solver: Any, *, delayed: bool, tolerance: float = 1e-6) -> Callable[[float], Any]:
    """A compiled call that solves a problem and returns its states at 21 times and its steps."""
    past = (lambda s: sd.delay(s, problem.lag)) if delayed else (lambda s: s)
    model = sd.compile(sd.System(problem.declare(past), name="problem"))
    ts = jnp.linspace(0.0, problem.t1, 21)

    @jax.jit
    def call(scale: float) -> Any:
        y0 = model.initial_state() * scale
        sol = sd.solve(
            model, y0=y0, saveat=ts, rtol=tolerance, atol=1e-3 * tolerance, solver=solver, max_steps=2**16, throw=False
        )
        return sol.ys, sol.stats["num_steps"], sol.ok

    return call


def least(*calls: Callable[[], Any], rounds: int) -> list[float]:
    """The least time of each call, in turns."""
    times = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            began = time.perf_counter()
            jax.block_until_ready(call())
            times[i] = min(times[i], time.perf_counter() - began)
    return times


def measured(problem: Problem, name: str, rounds: int) -> Row:
    """One row of the table."""
    solver = SOLVERS[name]
    with_delay, without = (solved(problem, solver, delayed=each) for each in (True, False))
    (ys, steps, ok), (_, plain_steps, plain_ok) = with_delay(1.0), without(1.0)
    tight = sd.Delayed(sd.Rodas5P(), capacity=2**13)
    truth, _, known = solved(problem, tight, delayed=True, tolerance=1e-10)(1.0)
    if not bool(ok & plain_ok & known):
        raise RuntimeError(f"{problem.name} was not solved")
    taken, plain = least(lambda: with_delay(1.0), lambda: without(1.0), rounds=rounds)
    return Row(
        problem=problem.name,
        solver=name,
        time=taken,
        steps=int(steps),
        error=float(np.max(np.abs(ys - truth) / (np.abs(truth) + 1e-3 * np.max(np.abs(truth), axis=0)))),
        plain=plain,
        plain_steps=int(plain_steps),
        by_hand=_by_hand(problem) if name == "auto" else None,
    )


def _by_hand(problem: Problem) -> float | None:
    """SciPy's time, where its pieces are not stiff."""
    if problem.slope(0.0, problem.start, [problem.start]) is None:
        return None
    pieces = int(np.ceil(problem.t1 / problem.lag))

    def call() -> Any:
        start, lag = list(problem.start), problem.lag
        return by_steps(problem.slope, (lag,), lambda s: np.array(start), start, pieces * lag, lag)

    return least(call, rounds=1)[0]


def report(rows: list[Row]) -> str:
    """The rows as a table."""
    head = ("", "", "µs", "steps", "error", "µs without", "steps", "a step costs", "by hand, ms")
    lines = [
        (
            *(row.problem, row.solver, number(1e6 * row.time), str(row.steps), number(row.error)),
            *(number(1e6 * row.plain), str(row.plain_steps), f"{row.ratio:.1f} times"),
            number(None if row.by_hand is None else 1e3 * row.by_hand),
        )
        for row in rows
    ]
    return "\n".join(aligned([head, *lines]))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.delays", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="how often each call is timed")
    rounds = parser.parse_args(arguments).rounds
    jax.config.update("jax_enable_x64", True)
    print(report([measured(problem, name, rounds) for problem in PROBLEMS for name in SOLVERS]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
