"""Members of an ensemble in lockstep, for accelerators: `jax.vmap` over lanes of about equal cost.

Under `jax.vmap` a batch of solves lasts as long as its slowest, and a switching solver runs both of its methods. So
the members are sorted by a look at their Jacobian before the solve, and those that are stiff from the start are solved
by the Rosenbrock method alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq.solve.family import Family, MemberResult, solve_member
from symdeq.solvers import RODAS5P, ROSENBROCK23, AutoSwitch, Rodas5P, Rosenbrock23, SwitchStats

# The results of a batch take at most so much of the accelerator's memory, where one member does not take more.
_BATCH_BYTES = 256 * 2**20
_MOST_LANES = 4096
# Members are looked at in batches whose Jacobians hold about so many numbers.
_LOOKED_AT = 2**24
# A member counts as stiff from the start where the solution changes so many times slower than the Jacobian's largest
# entries allow: as in `symdeq.solve.stiffness`, but with a norm, which needs no eigenvalues.
_CLEARLY_STIFF = 66.0
_ROSENBROCK = {RODAS5P: Rodas5P(), ROSENBROCK23: Rosenbrock23()}


def in_lanes(
    family: Family, rows: np.ndarray, *, lanes: int | None = None, advance: Callable[[int], Any] = lambda count: None
) -> MemberResult:
    """Solve all members, batch by batch, sorted by cost.

    Arguments:

    - `family`: what is solved.
    - `rows`: the members' values, shape (members, columns).
    - `lanes`: members in a batch; default as many as memory allows, up to 4096. Their number never follows the number
        of members, so that another one compiles nothing anew.
    - `advance`: called with the number of members that were just finished.

    Returns the results on the host, in the order of `rows`.
    """
    if lanes is None:
        lanes = max(1, min(_MOST_LANES, _BATCH_BYTES // family.result_bytes))
    cost, stiff = _looked_at(family, rows, lanes)
    results: list[np.ndarray] = []
    structure: Any = None

    def fetch(batch: np.ndarray, result: MemberResult) -> None:
        nonlocal results, structure
        leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, result))
        results = results or [np.empty((len(rows), *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        for whole, part in zip(results, leaves, strict=True):
            whole[batch] = part[: len(batch)]
        advance(len(batch))

    running: tuple[np.ndarray, MemberResult] | None = None
    for one, chosen, implicit in _buckets(family, stiff):
        order = chosen[np.argsort(cost[chosen], kind="stable")]
        for start in range(0, len(order), lanes):
            batch = order[start : start + lanes]
            started = (batch, _batch(one, jnp.asarray(rows[_padded(batch, lanes)]), implicit))
            if running is not None:
                fetch(*running)  # while the next one runs
            running = started
    assert running is not None
    fetch(*running)
    return jax.tree.unflatten(structure, results)


@eqx.filter_jit
def _batch(family: Family, rows: Array, implicit: bool) -> MemberResult:
    result = jax.vmap(lambda row: solve_member(family, row))(rows)
    return dataclasses.replace(result, switch=_implicit_throughout(result)) if implicit else result


def _buckets(family: Family, stiff: np.ndarray) -> list[tuple[Family, np.ndarray, bool]]:
    """The program's family, the members that it solves, and whether it stands in for a switching solver."""
    solver = family.request.method.solver
    rosenbrock_solver = None
    if isinstance(solver, AutoSwitch) and all(family.request.model.generated.mass):
        rosenbrock_solver = _ROSENBROCK.get(solver.implicit)
    if rosenbrock_solver is None:
        return [(family, np.arange(len(stiff)), False)]
    request = dataclasses.replace(family.request, start_implicit=jnp.asarray(False))
    method = dataclasses.replace(request.method, solver=rosenbrock_solver)
    switching = dataclasses.replace(family, request=request)
    rosenbrock = dataclasses.replace(family, request=dataclasses.replace(request, method=method))
    buckets = [(switching, np.flatnonzero(~stiff), False), (rosenbrock, np.flatnonzero(stiff), True)]
    return [bucket for bucket in buckets if len(bucket[1])]


def _implicit_throughout(result: MemberResult) -> SwitchStats:
    """What a switching solver would report if it never left the Rosenbrock method."""
    steps = result.stats["num_accepted_steps"]
    never = jnp.full_like(result.t_end, jnp.inf)
    return SwitchStats(
        explicit_steps=jnp.zeros_like(steps),
        implicit_steps=steps,
        switches=jnp.zeros_like(steps),
        first_switch=never,
        last_switch=never,
        implicit=jnp.ones_like(steps, bool),
    )


def _looked_at(family: Family, rows: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """For each member, what orders the costs, and whether it is stiff from the start."""
    n = family.request.model.size
    size = max(1, min(lanes, _LOOKED_AT // n**2))
    batches = (np.arange(i, min(i + size, len(rows))) for i in range(0, len(rows), size))
    seen = [jax.tree.map(np.asarray, _look(family, jnp.asarray(rows[_padded(batch, size)]))) for batch in batches]
    cost, stiff = (np.concatenate(parts)[: len(rows)] for parts in zip(*seen, strict=True))
    return np.where(np.isfinite(cost), cost, np.inf), stiff


@eqx.filter_jit
def _look(family: Family, rows: Array) -> tuple[Array, Array]:
    """The Frobenius norm of the Jacobian at the start, and whether the solution changes much slower than it allows."""

    def one(row: Array) -> tuple[Array, Array]:
        request, _ = family.request_of(row)
        model, t0, y0 = request.model, request.t0, request.y0
        norm = jnp.sqrt(jnp.sum(model.jac(t0, y0) ** 2))
        scale = request.atol / request.rtol
        change = jnp.max(jnp.abs(model.rhs(t0, y0)) / (jnp.abs(y0) + scale))
        slowest = jnp.minimum(1 / change, jnp.abs(request.t1 - t0))
        return norm, slowest * norm > _CLEARLY_STIFF

    return jax.vmap(one)(rows)


def _padded(batch: np.ndarray, size: int) -> np.ndarray:
    """The last member again until the batch is full: it costs no lane more time."""
    return np.concatenate([batch, np.full(size - len(batch), batch[-1])])
