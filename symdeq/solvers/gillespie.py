"""Exact simulation of a jump process by Gillespie's direct method.

D. T. Gillespie, Exact stochastic simulation of coupled chemical reactions, J. Phys. Chem. 81 (1977) 2340-2361. With the
propensities a_j(y) and a_0 = a_1 + ... + a_m, the next reaction comes after the time τ and is number j, where

    τ = ln(1 / r_1) / a_0   (21a),        a_1 + ... + a_{j-1} ≤ r_2 a_0 < a_1 + ... + a_j   (21b),

with r_1 and r_2 uniform between 0 and 1. Both are drawn from the key and the number of the jump, so that a path does
not depend on when it is looked at.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.custom_batching
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class JumpResults(eqx.Enumeration):
    """How a simulation ended."""

    successful = ""
    max_jumps_reached = "the most jumps that were allowed were made"
    negative_count = "a reaction happened for which there were too few molecules"
    bad_propensity = "a propensity is negative or not finite"
    count_too_large = "a count is larger than what its floating-point type counts exactly"
    bad_start = "the counts at the start are not whole numbers from 0 on"
    bad_times = "the times to save at are not in order, or not between the start and the end"


class Path(eqx.Module):
    """One simulated path.

    - `ys`: the counts at the times asked for, shape (times, species); NaN where the path did not get to.
    - `t_end`, `y_end`: the time reached, and the counts there, shape (species,).
    - `num_jumps`: how many reactions happened.
    - `result`: how it ended.
    """

    ys: Float[Array, "times species"]
    t_end: Float[Array, ""]
    y_end: Float[Array, " species"]
    num_jumps: Int[Array, ""]
    result: JumpResults


class _State(eqx.Module):
    """The counts `y` since the jump at `since`, how many jumps and saved times there were, and what was saved.

    `lost` is what rounding took from the sum of waiting times, given back with the next one (Kahan): in single
    precision many of them are below what the time resolves.
    """

    since: Array
    lost: Array
    y: Array
    jumps: Array
    saved: Array
    ys: Array
    result: JumpResults


def direct_method(
    propensities: Callable[[Array], Array],
    changes: Float[Array, "reactions species"],
    y0: Float[Array, " species"],
    t0: Float[Array, ""],
    ts: Float[Array, " times"],
    key: Array,
    max_jumps: int,
) -> Path:
    """Simulate one path exactly, and save it at given times.

    Arguments:

    - `propensities`: a function of the counts, shape (species,), to the rate of each reaction, shape (reactions,).
    - `changes`: what each reaction adds to the counts, shape (reactions, species), whole numbers.
    - `y0`: the counts at the start, shape (species,), whole numbers in floating point.
    - `t0`, `ts`: the start, and the times to save at, shape (times,), increasing and not before it; the last is the
        end.
    - `key`: a `jax.random.key`.
    - `max_jumps`: the path ends unfinished where it would need more jumps.

    Returns a `Path`. Works under `jax.jit` and `jax.vmap`, there in lockstep: each step of the loop is one jump, or one
    saved time, of every path that is not done.
    """

    def running(state: _State) -> Array:
        return (state.saved < len(ts)) & (state.result == JumpResults.successful)

    def step(state: _State) -> _State:
        """Save at the next time if the next jump comes later, else jump. What is done stays as it is."""
        rates = propensities(state.y)
        wait, number = _next(rates, jax.random.fold_in(key, state.jumps))
        wait = wait + state.lost
        until, after = state.since + wait, state.y + changes[number]
        saves = running(state) & _sound(rates) & (until > ts[jnp.minimum(state.saved, len(ts) - 1)])
        result = JumpResults.where(running(state) & ~saves, _outcome(state, rates, after, max_jumps), state.result)
        jumps = running(state) & ~saves & (result == JumpResults.successful)
        return _State(
            since=jnp.where(jumps, until, state.since),
            lost=jnp.where(jumps, wait - (until - state.since), state.lost),
            y=jnp.where(jumps, after, state.y),
            jumps=state.jumps + jumps,
            saved=state.saved + saves,
            ys=state.ys.at[jnp.where(saves, state.saved, len(ts))].set(state.y, mode="drop"),
            result=result,
        )

    # The end of the loop is the same for a whole batch. With one for each path `jax.vmap` would copy all that is saved
    # in every step, to keep that of the paths that are done.
    end = jax.lax.while_loop(lambda state: _any(running(state)), step, _start(y0, t0, ts))
    return Path(
        ys=end.ys,
        t_end=jnp.where(end.result == JumpResults.successful, ts[-1], end.since),
        y_end=end.y,
        num_jumps=end.jumps,
        result=end.result,
    )


def _start(y0: Array, t0: Array, ts: Array) -> _State:
    """Before the first jump; nothing runs from counts or to times that cannot be."""
    whole = jnp.all(jnp.isfinite(y0) & (y0 >= 0) & (y0 == jnp.round(y0)))
    ordered = jnp.all(jnp.diff(ts, prepend=t0) >= 0)
    return _State(
        since=t0,
        lost=jnp.zeros((), y0.dtype),
        y=y0,
        jumps=jnp.zeros((), jnp.int32),
        saved=jnp.zeros((), jnp.int32),
        ys=jnp.full((len(ts), len(y0)), jnp.nan, y0.dtype),
        result=JumpResults.where(
            whole,
            JumpResults.where(ordered, JumpResults.successful, JumpResults.bad_times),
            JumpResults.bad_start,
        ),
    )


def _next(rates: Array, key: Array) -> tuple[Array, Array]:
    """The waiting time to the next reaction (21a), and its number (21b)."""
    sums = jnp.cumsum(rates)
    r1, r2 = jax.random.uniform(key, (2,), rates.dtype)
    wait = jnp.where(sums[-1] > 0, -jnp.log1p(-r1) / sums[-1], jnp.inf)
    # The first that fulfils (21b), or that can happen at all where rounding leaves none.
    return wait, jnp.argmax(jnp.where(rates > 0, jnp.where(sums > r2 * sums[-1], 2, 1), 0))


def _sound(rates: Array) -> Array:
    return jnp.all(jnp.isfinite(rates) & (rates >= 0))


def _outcome(state: _State, rates: Array, after: Array, max_jumps: int) -> Any:
    """What becomes of a jump to the counts `after`; of several failures the last named counts."""
    result = JumpResults.successful
    for failed, why in (
        (jnp.any(after >= 2 / jnp.finfo(after.dtype).eps), JumpResults.count_too_large),
        (jnp.any(after < 0), JumpResults.negative_count),
        (state.jumps >= max_jumps, JumpResults.max_jumps_reached),
        (~_sound(rates), JumpResults.bad_propensity),
    ):
        result = JumpResults.where(failed, why, result)
    return result


@jax.custom_batching.custom_vmap
def _any(values: Array) -> Array:
    """Whether one is true, of a whole batch under `jax.vmap`."""
    return jnp.any(values)


@_any.def_vmap
def _(size: Any, batched: Any, values: Array) -> Any:
    del size, batched
    return _any(values), False
