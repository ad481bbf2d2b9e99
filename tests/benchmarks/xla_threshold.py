"""How large should XLA's threshold for small loops be? `python -m tests.benchmarks.xla_threshold`

One process for each value, in turns; a table of each piece of work against the values, least and median microseconds.
The decision that it supports: docs/decisions/002-xla-option.md.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp

from tests.zoo import PROBLEMS, Problem

from .choices import compare, preparing, times
from .client import OPTION, Client
from .peers import PEERS, SYMDEQ
from .table import aligned
from .worker import serve

VALUES = ("default", "1e4", "1e5", "1e6", "1e7", "1e9")


def _by_symdeq(name: str) -> Callable[[], Any]:
    return PEERS[SYMDEQ].solve(PROBLEMS[name]).run


def _gradient(name: str) -> Callable[[], Any]:
    work = PEERS[SYMDEQ].gradient(PROBLEMS[name])
    assert work is not None
    return work.run


def _own_steps(name: str, saveat: Any = None) -> Callable[[], Any]:
    """A solve that saves at every step, or at many times: its buffers are large."""
    import symdeq as sd

    problem = PROBLEMS[name]
    model = sd.compile(problem.build())
    return _compiled(lambda p: sd.solve(model, problem.t1 * p, saveat=saveat).ys, jnp.asarray(1.0))


def _tsit5(problem: Problem, y0: Any) -> Any:
    saveat, controller = dfx.SaveAt(ts=jnp.asarray(problem.ts)), dfx.PIDController(rtol=1e-6, atol=1e-9)
    return dfx.diffeqsolve(
        dfx.ODETerm(problem.field), dfx.Tsit5(), problem.t0, problem.t1, None, y0,
        args=problem.params, saveat=saveat, stepsize_controller=controller, throw=False,
    ).ys  # fmt: skip


def _by_hand(name: str) -> Callable[[], Any]:
    problem = PROBLEMS[name]
    return _compiled(lambda y0: _tsit5(problem, y0), jnp.asarray(problem.y0))


def _ensemble(members: int) -> Callable[[], Any]:
    problem = PROBLEMS["lotka_volterra"]
    y0 = jnp.asarray(problem.y0) * jnp.linspace(0.8, 1.2, members)[:, None]
    return _compiled(jax.vmap(lambda y0: _tsit5(problem, y0)), y0)


def _neural_ode() -> Callable[[], Any]:
    """The gradient by all weights of one neural ODE, as diffrax's examples train it."""
    mlp = eqx.nn.MLP(2, 2, 32, 2, activation=jax.nn.softplus, key=jax.random.key(0))
    ts, (weights, rest) = jnp.linspace(0, 2, 20), eqx.partition(mlp, eqx.is_array)

    def loss(weights):
        net = eqx.combine(weights, rest)
        controller = dfx.PIDController(rtol=1e-4, atol=1e-6)
        solution = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, args: net(y)), dfx.Tsit5(), 0.0, 2.0, None, jnp.array([1.0, 0.5]),
            saveat=dfx.SaveAt(ts=ts), stepsize_controller=controller, throw=False,
        )  # fmt: skip
        return jnp.sum(jnp.asarray(solution.ys) ** 2)

    return _compiled(jax.grad(loss), weights)


def _products(width: int) -> Callable[[], Any]:
    """Products of matrices, one after the other: at most some 50 ms of them."""
    matrix = jnp.eye(width) + 0.1 * jax.random.normal(jax.random.key(0), (width, width)) / width
    return _compiled(lambda x: jax.lax.fori_loop(0, 20, lambda i, x: jnp.tanh(x @ matrix), x), matrix)


def _heat(points: int) -> Callable[[], Any]:
    """Explicit steps of the heat equation: long arrays, no products."""

    def step(i, u):
        return u + 0.2 * (jnp.roll(u, 1) - 2 * u + jnp.roll(u, -1)) + 1e-3 * jnp.sin(u)

    return _compiled(lambda u: jax.lax.fori_loop(0, 20, step, u), jnp.linspace(0.0, 1.0, points))


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


WORK: dict[str, Callable[[], Callable[[], Any]]] = {
    **{f"symdeq {name}": functools.partial(_by_symdeq, name) for name in ("lotka_volterra", "rober", "hires", "pollu")},
    **{f"symdeq {name}, gradient": functools.partial(_gradient, name) for name in ("lotka_volterra", "rober", "hires")},
    **{f"symdeq {name}, own steps": functools.partial(_own_steps, name) for name in ("rober", "hires")},
    "symdeq lotka_volterra, 100,000 save points": lambda: _own_steps("lotka_volterra", jnp.linspace(0, 10, 100_000)),
    "Tsit5 by hand, lotka_volterra": functools.partial(_by_hand, "lotka_volterra"),
    "Tsit5 by hand, brusselator_1d_32": functools.partial(_by_hand, "brusselator_1d_32"),
    **{f"Tsit5 by hand, {n:,} × lotka_volterra": functools.partial(_ensemble, n) for n in (100, 10_000)},
    "gradient of a neural ODE, width 32": _neural_ode,
    **{f"20 products of width {n}": functools.partial(_products, n) for n in (64, 256, 1024)},
    **{
        f"20 heat steps, {n:,} points": functools.partial(_heat, n)
        for n in (1_000, 10_000, 30_000, 60_000, 100_000, 1_000_000)
    },
}


def _prepare(request: dict[str, Any]) -> tuple[float, Callable[[], Any]]:
    start = time.perf_counter()
    run = WORK[request["work"]]()
    return time.perf_counter() - start, run


def _client(value: str) -> Client:
    # symdeq sets no value of its own: it finds one there, or is told not to.
    flags = "" if value == "default" else f"--xla_backend_extra_options={OPTION}={int(float(value))}"
    return Client(("tests.benchmarks.xla_threshold", "worker"), flags, SYMDEQ_XLA_TUNING="0")


def main() -> None:
    """Measure every piece of work at every value."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.xla_threshold", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WORK, metavar="WORK", default=list(WORK), help=", ".join(WORK))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    clients = {value: _client(value) for value in VALUES}
    rows: list[tuple[str, ...]] = [("least µs (median)", *VALUES)]
    try:
        for client in clients.values():
            client.greet()
        for work in options.only:
            taken = compare(clients, options.rounds, work=work)
            cells = [times(taken[value][1]) if value in taken else "failed" for value in VALUES]
            rows.append((work, *cells))
            print(work, *cells, file=sys.stderr, flush=True)
    finally:
        for client in clients.values():
            client.close()
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        serve(lambda: preparing(_prepare))
    else:
        main()
