"""Equilibrium layers in JAX: symdeq, jaxopt, optimistix. The layer is for one image, the batch is `jax.vmap`.

All of them stop where the 2-norm of the residual is at most the tolerance, and solve the backward equation by GMRES to
1e-3, with ten vectors at most, in lineax's own GMRES twenty.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from .. import digits
from .compiled import forget

Search = Callable[[Any, Any, float], tuple[Any, Any]]
BACKWARD = {"rtol": 1e-3, "vectors": 10}


def cell(z: Any, x: Any, p: Any) -> Any:
    """For one image or a batch."""
    return jnp.tanh(jnp.tanh((z + x) @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"])


def _symdeq(method: str) -> Search:
    import symdeq as sd
    from symdeq import solvers

    def search(p: Any, x: Any, tolerance: float) -> tuple[Any, Any]:
        solver = getattr(solvers, method)(atol=tolerance, norm=optx.two_norm)
        deq = sd.DEQ(_Cell(p), solver, max_steps=digits.MAX_STEPS)
        z, info = deq(x, return_info=True)
        return z, info.nfe

    return search


def _Cell(p: Any) -> Any:
    # A PyTree with the weights in it, as equinox's layers are.
    return jax.tree_util.Partial(lambda p, z, x: cell(z, x, p), p)


def _jaxopt(method: str, **options: Any) -> Search:
    jaxopt, solve = import_module("jaxopt"), import_module("jaxopt.linear_solve").solve_gmres
    backward = functools.partial(solve, tol=BACKWARD["rtol"], maxiter=1, restart=BACKWARD["vectors"])

    def search(p: Any, x: Any, tolerance: float) -> tuple[Any, Any]:
        solver = getattr(jaxopt, method)(
            cell, maxiter=digits.MAX_STEPS, tol=tolerance, implicit_diff=True, implicit_diff_solve=backward, **options
        )
        found = solver.run(jnp.zeros_like(x), x, p)
        return found.params, found.state.iter_num

    return search


def _optimistix() -> Search:
    import lineax as lx

    # With fewer vectors, or without atol, lineax reports a breakdown in single precision.
    backward = lx.GMRES(rtol=BACKWARD["rtol"], atol=1e-6, restart=2 * BACKWARD["vectors"])

    def search(p: Any, x: Any, tolerance: float) -> tuple[Any, Any]:
        found = optx.fixed_point(
            lambda z, args: cell(z, *args),
            optx.FixedPointIteration(rtol=0.0, atol=tolerance, norm=optx.two_norm),
            jnp.zeros_like(x),
            (x, p),
            max_steps=digits.MAX_STEPS,
            adjoint=optx.ImplicitAdjoint(linear_solver=backward),
            throw=False,
        )
        return found.value, found.stats["num_steps"]

    return search


SEARCHES: Mapping[str, Callable[[], Search]] = MappingProxyType(
    {
        "symdeq Anderson": functools.partial(_symdeq, "Anderson"),
        "symdeq Broyden": functools.partial(_symdeq, "Broyden"),
        "symdeq fixed point": functools.partial(_symdeq, "FixedPoint"),
        "jaxopt Anderson": functools.partial(_jaxopt, "AndersonAcceleration"),
        "jaxopt fixed point": functools.partial(_jaxopt, "FixedPointIteration"),
        "optimistix fixed point": _optimistix,
    }
)


def prepared(peer: str, tolerance: float) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """What a peer found for the first batch, and what it can run: the search, the gradient, an epoch by Adam."""
    import optax

    images, labels = (jnp.asarray(part) for part in digits.data())
    start = {name: jnp.asarray(value) for name, value in digits.weights().items()}
    forget()
    began = time.perf_counter()
    search = SEARCHES[peer]()

    def equilibria(p: Any, images: Any) -> tuple[Any, Any]:
        entered = images @ p["enter"].T + p["enter_bias"]
        return jax.vmap(lambda x: search(p, x, tolerance))(entered)

    def loss(p: Any, images: Any, labels: Any) -> Any:
        logits = equilibria(p, images)[0] @ p["leave"].T + p["leave_bias"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    gradient = jax.jit(jax.value_and_grad(loss)).lower(start, images[0], labels[0]).compile()
    _, slopes = jax.block_until_ready(gradient(start, images[0], labels[0]))
    first = time.perf_counter() - began
    forward = jax.jit(equilibria).lower(start, images[0]).compile()
    z, evaluations = forward(start, images[0])
    optimiser = optax.adam(digits.RATE)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(p: Any, state: Any, images: Any, labels: Any) -> tuple[Any, Any, Any]:
        value, slopes = jax.value_and_grad(loss)(p, images, labels)
        updates, state = optimiser.update(slopes, state)
        return optax.apply_updates(p, updates), state, value

    batches = [(images[i], labels[i]) for i in range(len(images))]

    def epoch() -> float:
        p = jax.tree.map(jnp.copy, start)
        state = optimiser.init(p)
        values = []
        for batch in batches:
            p, state, value = step(p, state, *batch)
            values.append(value)
        return float(np.mean(jax.device_get(values[-5:])))

    memory = gradient.memory_analysis()
    answer = {
        "first": first,
        "z": np.asarray(z),
        "gradient": {name: np.asarray(value) for name, value in slopes.items()},
        "evaluations": int(jnp.max(evaluations)),
        "memory": 0 if memory is None else int(memory.temp_size_in_bytes),
    }
    runs = {
        "forward": lambda: jax.block_until_ready(forward(start, images[0])),
        "gradient": lambda: jax.block_until_ready(gradient(start, images[0], labels[0])),
        "epoch": epoch,
    }
    return answer, runs
