"""The gradient of a small neural ODE, against diffrax by hand: `python -m tests.benchmarks.neural`

The loss is that of examples/spiral.py: 30 points of a spiral, u³ -> 50 tanh -> 2, 252 weights, rtol 1e-7, atol 1e-9, in
float64. It is measured at the weights as they were drawn, whose solution is smooth, and after training. Each peer has a
process of its own, the processes take turns, and errors are relative to a gradient at a tolerance of 1e-12.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .client import Client
from .peers.compiled import forget
from .records import Timing
from .table import aligned, number
from .turns import turns

RTOL, ATOL = 1e-7, 1e-9
START, TIMES = (2.0, 0.0), np.linspace(0.0, 1.5, 30)
SYMDEQ = "symdeq"
DEFAULT = "diffrax by hand"
OPTION = "the same with XLA's option"
PEERS = (SYMDEQ, DEFAULT, OPTION)
# The default of both, and a bound that a user finds by looking at the number of steps.
MAX_STEPS = (4096, 256)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A peer at given weights and a given bound on the number of steps.

    Arguments:
        peer: its name
        weights: "drawn" or "trained"
        max_steps: the bound on the number of steps
        steps: steps tried
        first: seconds from the declaration to the first gradient
        loss, gradient: times of one evaluation; the gradient is that of reverse mode
        error: of the gradient: the largest difference over the largest entry
    """

    peer: str
    weights: str
    max_steps: int
    steps: int
    first: float
    loss: Timing
    gradient: Timing
    error: float


def network(key: Any) -> Any:
    """The network of the example."""
    first, second = jax.random.split(key)
    layers = (
        eqx.nn.Lambda(lambda u: u**3),
        eqx.nn.Linear(2, 50, key=first),
        eqx.nn.Lambda(jnp.tanh),
        eqx.nn.Linear(50, 2, key=second),
    )
    return eqx.nn.Sequential(layers)


def _by_symdeq(max_steps: int, rtol: float, atol: float) -> Callable[[Any], tuple[Any, Any]]:
    import symdeq as sd

    net = network(jax.random.key(0))
    node = sd.NeuralODE(net, saveat=TIMES, size=2, rtol=rtol, atol=atol, max_steps=max_steps)

    def solve(net: Any) -> tuple[Any, Any]:
        solution = eqx.tree_at(lambda n: n.layer.model.networks[0], node, net).solve(jnp.array(START))
        return solution.ys, solution.stats["num_steps"]

    return solve


def _by_hand(max_steps: int, rtol: float, atol: float) -> Callable[[Any], tuple[Any, Any]]:
    def solve(net: Any) -> tuple[Any, Any]:
        solution = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, u, net: net(u)),
            dfx.Tsit5(),
            TIMES[0],
            TIMES[-1],
            None,
            jnp.array(START),
            net,
            saveat=dfx.SaveAt(ts=jnp.asarray(TIMES)),
            stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
            throw=False,
        )
        return solution.ys, solution.stats["num_steps"]

    return solve


def _prepared(peer: str, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """What a worker answers to a request for a loss and its gradient, and what it then runs."""
    forget()
    started = time.perf_counter()
    declare = _by_symdeq if peer == SYMDEQ else _by_hand
    solve = declare(request["max_steps"], request["rtol"], request["atol"])
    weights, rest = eqx.partition(network(jax.random.key(0)), eqx.is_inexact_array)
    drawn, unravel = ravel_pytree(weights)
    if request["weights"]:
        weights = unravel(jnp.array(request["weights"], drawn.dtype))
    data = jnp.array(request["data"])

    def loss(weights: Any) -> tuple[Any, Any]:
        ys, steps = solve(eqx.combine(weights, rest))
        return jnp.sum((ys - data) ** 2), steps

    gradient = jax.jit(jax.grad(loss, has_aux=True)).lower(weights).compile()
    found, steps = jax.block_until_ready(gradient(weights))
    first = time.perf_counter() - started
    value = jax.jit(loss).lower(weights).compile()
    answer = {"first": first, "gradient": ravel_pytree(found)[0].tolist(), "steps": int(steps)}
    runs = {"loss": value, "gradient": gradient}
    return answer, {what: functools.partial(_done, run, weights) for what, run in runs.items()}


def _done(run: Callable[[Any], Any], weights: Any) -> Any:
    return jax.block_until_ready(run(weights))


def _serve(peer: str) -> None:
    from .worker import keeping, serve

    if peer == SYMDEQ:
        import symdeq  # noqa: F401  # sets XLA's option, which has to come before the first computation
    elif "symdeq" in sys.modules:
        raise RuntimeError("symdeq was imported in the process of another peer")
    elif peer == OPTION:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    # What is imported and set up once in a process is part of no peer's time.
    _prepared(peer, {"max_steps": 16, "rtol": 0.1, "atol": 0.1, "weights": None, "data": [[0.0, 0.0]] * len(TIMES)})
    serve(lambda: keeping(lambda request: _prepared(peer, request)))


def _trained() -> tuple[list[float], list[list[float]]]:
    """The weights after the example's training, and its data."""
    import optax

    import symdeq as sd
    from examples import spiral

    data = spiral.exact(spiral.START, spiral.TIMES)
    training = sd.train(
        spiral.neural_ode(jax.random.key(0)), spiral.loss, data, steps=1000, optimiser=optax.adam(0.1), progress=False
    )
    return ravel_pytree(eqx.filter(training.module.network, eqx.is_inexact_array))[0].tolist(), data.tolist()


def compare(rounds: int = 21, seconds: float = 0.02, bounds: Iterable[int] = MAX_STEPS) -> list[Row]:
    """All peers at both sets of weights and each bound on the number of steps.

    Arguments:
        rounds: turns of each peer
        seconds: the length of a turn
        bounds: values of `max_steps`
    """
    trained, data = _trained()
    flags = os.environ["XLA_FLAGS"]  # as symdeq, which this process has imported, sets them
    clients = {
        peer: Client(("tests.benchmarks.neural", "worker", peer), flags if peer == OPTION else "") for peer in PEERS
    }
    rows: list[Row] = []
    try:
        for client in clients.values():
            client.greet()
        for name, weights in (("drawn", None), ("trained", trained)):
            request = {"do": "prepare", "data": data, "weights": weights}
            reference = clients[DEFAULT].ask(**request, max_steps=8192, rtol=1e-12, atol=1e-12)
            for bound in bounds:
                answers = {
                    peer: _answered(client.ask(**request, max_steps=bound, rtol=RTOL, atol=ATOL))
                    for peer, client in clients.items()
                }
                times = {what: turns(clients, what, rounds, seconds) for what in ("loss", "gradient")}
                for peer, answer in answers.items():
                    rows.append(
                        Row(
                            peer=peer,
                            weights=name,
                            max_steps=bound,
                            steps=answer["steps"],
                            first=answer["first"],
                            loss=times["loss"][peer],
                            gradient=times["gradient"][peer],
                            error=_error(answer["gradient"], _answered(reference)["gradient"]),
                        )
                    )
    finally:
        for client in clients.values():
            client.close()
    return rows


def _answered(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


def _error(found: list[float], reference: list[float]) -> float:
    difference = np.abs(np.subtract(found, reference))
    return float(np.max(difference) / np.max(np.abs(reference)))


_HEAD = ("", "steps", "loss µs", "gradient µs", "±", "in losses", "error", "first s", "symdeq is faster")


def report(rows: list[Row]) -> str:
    """A table for each set of weights and each bound, with how many times longer than symdeq a peer takes."""
    text = []
    for weights, bound in dict.fromkeys((row.weights, row.max_steps) for row in rows):
        those = [row for row in rows if (row.weights, row.max_steps) == (weights, bound)]
        ours = next(row for row in those if row.peer == SYMDEQ)
        lines = aligned([_HEAD, *(_cells(row, ours) for row in those)])
        text += [f"gradient at the weights {weights}, max_steps={bound}", *lines, ""]
    return "\n".join(text)


def _cells(row: Row, ours: Row) -> tuple[str, ...]:
    return (
        row.peer,
        str(row.steps),
        number(row.loss.median),
        number(row.gradient.median),
        f"{row.gradient.spread:.0%}",
        number(row.gradient.over(row.loss)),
        number(row.error),
        number(row.first),
        "" if row is ours else f"{number(row.gradient.over(ours.gradient))}×",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.neural", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--max-steps", type=int, nargs="+", default=list(MAX_STEPS))
    options = parser.parse_args()
    print(report(compare(rounds=options.rounds, bounds=options.max_steps)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        _serve(sys.argv[2])
    else:
        main()
