"""Poisson processes in a solve: their jumps are drawn before it, steps end at them, and the state changes there."""

from __future__ import annotations

import math
import warnings
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool

from symdeq._errors import SymdeqWarning, UnsupportedError
from symdeq._values import concrete
from symdeq.codegen import Functions
from symdeq.compiled import Model
from symdeq.solvers import Breakpoints, Jumping

# Room for so many standard deviations of the number of jumps above its mean, and some more.
_DEVIATIONS, _MORE = 8, 8
# Where the rate is not known when the program is made.
_UNKNOWN = 256
# Jumps are drawn so many at a time, each lot with a key of its own: so the first ones are the same whatever the room.
_LOT = 16
_TAG = 0x6A756D70


class Draws(eqx.Module):
    """The jumps of all processes, as a key stands for them.

    - `times`: shape (processes, room); beyond the end of the solve where there are no more.
    - `marks`: shape (processes, room, marks).
    - `enough`: whether the room held them all.
    """

    times: Array
    marks: Array
    enough: Bool[Array, ""]


def room(model: Model, t0: Any, t1: Any, start: Array, max_steps: int) -> int:
    """For how many jumps of each process there is to be room: a power of two, so that few programs are made."""
    known = concrete(t0, t1, *jax.tree.leaves(eqx.filter(model.args, eqx.is_array)))
    if not known:
        return _UNKNOWN
    with jax.ensure_compile_time_eval():  # in a program that is being traced, too
        return room_for(float(jnp.max(expected(model, t0, t1, jnp.zeros_like(start)))), max_steps)


def expected(model: Model, t0: Any, t1: Any, start: Array) -> Array:
    """How many jumps of each process are to be expected, shape (processes,)."""
    rates = [jnp.asarray(rate, start.dtype) for rate in model.functions.rates(t0, start, model.args)]
    return jnp.stack(rates) * jnp.abs(jnp.asarray(t1, start.dtype) - jnp.asarray(t0, start.dtype))


def room_for(mean: float, max_steps: int) -> int:
    """The room for so many jumps on average. Each takes a step, so more than `max_steps` could not be made."""
    wanted = min(mean + _DEVIATIONS * math.sqrt(max(mean, 0.0)) + _MORE, max_steps) if math.isfinite(mean) else _MORE
    return max(2 ** math.ceil(math.log2(max(wanted, 1))), _LOT)


def checked_room(model: Model, solver: Any, t0: Any, t1: Any, start: Array, max_steps: int) -> int:
    """`room` for a model with Poisson processes, 0 for one without.

    Raises `UnsupportedError` for a solver whose steps cannot end at the jumps.
    """
    if not model.system.jumps:
        return 0
    if not isinstance(solver, dfx.AbstractAdaptiveSolver):
        raise UnsupportedError(
            f"The steps of {type(solver).__name__} are all alike, and do not end at the jumps of "
            f"`{model.system.jumps[0].process}`.",
            remedy='use solver="auto", or diffrax.HalfSolver around it',
        )
    return room(model, t0, t1, start, max_steps)


def draw(model: Model, t0: Array, t1: Array, y0: Array, key: Any, room: int) -> Draws:
    """The jumps from t0 to t1: gaps between them are exponential."""
    system = model.system
    rates = _without_derivative(model, jnp.stack([jnp.asarray(r) for r in model.functions.rates(t0, y0, model.args)]))
    kinds = ["exponential", *(mark.distribution for jump in system.jumps for mark in jump.marks)]
    own = [jax.random.fold_in(jax.random.fold_in(key, _TAG), i) for i in range(len(system.jumps))]
    gaps, *marks = (
        jnp.stack([_drawn(kind, jax.random.fold_in(k, number), room, y0.dtype) for k in own])
        for number, kind in enumerate(kinds)
    )
    elapsed = jnp.cumsum(gaps, axis=1) / jnp.where(rates > 0, rates, 1)[:, None]
    # A jump at the very start would be before the first step.
    times = jnp.where(rates[:, None] > 0, jnp.maximum(t0 + elapsed, jnp.nextafter(t0, jnp.inf)), jnp.inf)
    beyond = t1 + jnp.abs(t1 - t0) + 1
    return Draws(
        times=lax.stop_gradient(jnp.where(times < t1, times, beyond)),
        marks=jnp.stack(marks, axis=-1) if marks else jnp.zeros((*times.shape, 0), y0.dtype),
        enough=jnp.all(times[:, -1] >= t1) & jnp.all(rates >= 0),
    )


def _drawn(distribution: str, key: Any, room: int, dtype: Any) -> Array:
    """Independent numbers, shape (room,)."""
    lots = jax.vmap(lambda i: _DRAWN[distribution](jax.random.fold_in(key, i), (_LOT,), dtype))
    return lots(jnp.arange(room // _LOT)).ravel()


_DRAWN: dict[str, Any] = {
    "normal": jax.random.normal,
    "uniform": lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, jnp.finfo(dtype).tiny),
    "exponential": jax.random.exponential,
}


class Jump(eqx.Module):
    """The state after a jump, from the generated sizes."""

    functions: Functions = eqx.field(static=True)
    places: tuple[tuple[int, int], ...] = eqx.field(static=True)  # the process of each size, and its state
    marks: Array

    def __call__(self, k: Any, t: Any, y: Any, args: Any) -> Any:
        own, number = k // self.marks.shape[1], k % self.marks.shape[1]
        sizes = self.functions.jumps(t, y, args, self.marks[own, number])
        process, state = np.array(self.places).T
        return y.at[state].add(jnp.where(process == own, jnp.stack([jnp.asarray(v, y.dtype) for v in sizes]), 0))


def with_jumps(model: Model, solver: Any, controller: Any, draws: Draws) -> tuple[Jumping, Breakpoints]:
    """A solver that jumps, and a controller whose steps end where it does."""
    rows = {state: i for i, state in enumerate(model.system.states)}
    places = tuple((j, rows[state]) for j, jump in enumerate(model.system.jumps) for state, _ in jump.entries)
    times = draws.times.ravel()
    jump = Jump(functions=model.functions, places=places, marks=draws.marks)
    return Jumping(solver, times, jump), Breakpoints(controller, times, same=0)


def _without_derivative(model: Model, rates: Array) -> Array:
    """The rates, with a warning where something is differentiated by what they depend on.

    How many jumps there are changes in leaps, so the derivative of a path by the rate is not that of its mean.
    """
    named = [f"`{s}`" for jump in model.system.jumps for s in sorted(jump.rate.free_symbols, key=str)]

    @jax.custom_jvp
    def fixed(rates: Array) -> Array:
        return rates

    def moving(primals: Any, tangents: Any) -> Any:
        if named and not isinstance(tangents[0], SymbolicZero):
            warnings.warn(
                f"Derivatives of a path of `{model.system.name}` leave out how the rates of its jumps depend on "
                f"{', '.join(dict.fromkeys(named))}: the number of jumps does not change smoothly.\n"
                "  remedy: differentiate by other parameters, or compare means over many paths",
                SymdeqWarning,
                stacklevel=2,
            )
        return primals[0], jnp.zeros_like(primals[0])

    fixed.defjvp(moving, symbolic_zeros=True)
    return fixed(rates)
