"""The search: Levenberg-Marquardt from many starts, in one program."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool

from symdeq.fit.objective import Objective, Point

# The residual at a point where the model cannot be solved: worse than any other, and its square still a number in
# single precision.
_REFUSED = 1e12
# How often the weight between columns of known and of estimated sigma is set anew, at most.
_ROUNDS = 20
# A step that gains this part of what was predicted makes the next one longer. Optimistix asks for 0.99, which no step
# along a bound reaches: the Hudson Bay data with a bound that holds take 600 iterations so, and 75 in this way.
_GOOD = 0.75
# So many rejected steps in a row, each a quarter of the one before, end a search: what is left is below the accuracy
# of the solves.
_REJECTED = 12


class Found(eqx.Module):
    """Where the search from one start ended.

    - `point`: the differences there.
    - `cost`: minus the log-likelihood on the scale of the noise; infinite where the model cannot be solved.
    - `iterations`: Levenberg-Marquardt steps, accepted or not.
    - `settled`: whether steps and improvement fell below the tolerance.
    """

    point: Point
    cost: Array
    iterations: Array
    settled: Bool[Array, ""]


@eqx.filter_jit
def search(objective: Objective, starts: Array, iterations: Array) -> Found:
    """Search from each start.

    Arguments:

    - `objective`: what is minimised.
    - `starts`: in search coordinates, shape (starts, p).
    - `iterations`: the most Levenberg-Marquardt steps from each.

    Returns a `Found` whose arrays have a leading axis of starts. A start that fails harms no other.
    """
    one = lambda start: _from(objective, start, iterations)  # noqa: E731
    # On a CPU a solve is one native loop that ends when it is done; in lockstep all would last as long as the longest
    # and leave that loop. 32 starts of Lotka-Volterra: 40 times slower by vmap.
    return lax.map(one, starts) if jax.default_backend() == "cpu" else jax.vmap(one)(starts)


def quantiles(key: Any, starts: int, unknowns: int) -> np.ndarray:
    """A Latin hypercube, shape (starts, unknowns): one value of each unknown in each of `starts` equal parts of (0, 1).

    McKay, Beckman and Conover, Technometrics 21 (1979) 239-245.
    """
    orders, inside = jax.random.split(key)
    rows = jax.vmap(lambda k: jax.random.permutation(k, starts), out_axes=1)(jax.random.split(orders, unknowns))
    return (np.asarray(rows) + np.asarray(jax.random.uniform(inside, (starts, unknowns), float))) / starts


def _from(objective: Objective, start: Array, iterations: Array) -> Found:
    tolerance = 1e-8 if start.dtype == jnp.float64 else 1e-4
    solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
    solver = eqx.tree_at(lambda s: s.search.high_cutoff, solver, _GOOD)
    one = jnp.ones((), start.dtype)
    if not objective.mixed:
        return _found(objective, *_least_squares(solver, objective, start, one, iterations))

    def again(carry: tuple) -> tuple:
        u, tau, _, rounds, _, spent, _ = carry
        u, point, steps, settled = _least_squares(solver, objective, u, tau, iterations - spent)
        new = jnp.where(point.failure == 0, objective.tau(point.differences), tau)
        agreed = jnp.abs(jnp.log(new / tau)) < jnp.sqrt(tolerance)
        return u, new, agreed | (point.failure != 0), rounds + 1, point, spent + steps, settled

    structure = eqx.filter_eval_shape(lambda: _least_squares(solver, objective, start, one, iterations))
    _, point, steps, settled = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
    first = (start, one, jnp.asarray(False), 0, point, steps, settled)
    proceed = lambda carry: ~carry[2] & (carry[3] < _ROUNDS) & (carry[5] < iterations)  # noqa: E731
    u, _, agreed, _, point, steps, settled = lax.while_loop(proceed, again, first)
    return _found(objective, u, point, steps, settled & agreed)


def _least_squares(solver: Any, objective: Objective, start: Array, tau: Array, iterations: Array) -> tuple:
    """One run of Levenberg-Marquardt: the end in search coordinates, the point there, steps, and whether it settled."""

    def residuals(u: Array, _: Any) -> tuple[Array, Point]:
        # The derivatives are known beside the values, so the optimiser is shown a function that is linear about the
        # point: whatever it differentiates, nothing is solved again.
        here = lax.stop_gradient(u)
        scaled, stretch = jax.jvp(objective.coordinates.scaled, (here,), (jnp.ones_like(here),))
        point = objective.at(jnp.where(objective.free, scaled, objective.held))
        weighted, push = jax.linearize(lambda d: objective.residuals(d, tau), point.differences)
        slope = jax.vmap(push, in_axes=-1, out_axes=-1)(point.jacobian * jnp.where(objective.free, stretch, 0))
        good = (point.failure == 0) & jnp.all(jnp.isfinite(slope)) & jnp.all(jnp.isfinite(weighted))
        weighted, slope = jnp.where(good, weighted, _REFUSED), jnp.where(good, slope, 0)
        return weighted + slope @ (u - here), point

    return _stepped(solver, eqx.filter_closure_convert(residuals, start, None), start, iterations)


def _stepped(solver: optx.LevenbergMarquardt, residuals: Any, start: Array, iterations: Array) -> tuple:
    """Run an optimiser step by step: its bound on steps may be traced, and a search that only rejects steps ends."""
    f_struct, aux_struct = eqx.filter_eval_shape(residuals, start, None)
    rest = {"fn": residuals, "args": None, "options": {}, "tags": frozenset()}
    state = solver.init(y=start, f_struct=f_struct, aux_struct=aux_struct, **rest)
    dynamic, static = eqx.partition(state, eqx.is_array)

    def proceed(carry: tuple) -> Array:
        u, dynamic = carry
        state = eqx.combine(dynamic, static)
        done, result = solver.terminate(y=u, state=state, **rest)
        refused = state.num_steps_since_acceptance >= _REJECTED
        return ~done & (result == optx.RESULTS.successful) & ~refused & (state.num_steps < iterations)

    def step(carry: tuple) -> tuple:
        u, dynamic = carry
        u, state, _ = solver.step(y=u, state=eqx.combine(dynamic, static), **rest)
        return u, eqx.filter(state, eqx.is_array)

    u, dynamic = lax.while_loop(proceed, step, (start, dynamic))
    state = eqx.combine(dynamic, static)
    # `state.aux` belongs to the last accepted step; what a step returns beside the state belongs to the one before.
    return u, state.aux, state.num_steps, state.terminate


def _found(objective: Objective, u: Array, point: Point, steps: Array, settled: Array) -> Found:
    del u
    cost = objective.cost(point.differences)
    good = (point.failure == 0) & jnp.isfinite(cost)
    return Found(
        point=point, cost=jnp.where(good, cost, jnp.inf), iterations=steps, settled=settled & good & point.reaches
    )
