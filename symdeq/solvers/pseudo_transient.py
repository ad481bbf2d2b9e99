"""Pseudo-transient continuation: implicit Euler steps that grow into Newton's method, to where an equation rests.

Kelley and Keyes, Convergence analysis of pseudo-transient continuation, SIAM J. Numer. Anal. 35 (1998) 508-523; Coffey,
Kelley and Keyes, Pseudotransient continuation and differential-algebraic equations, SIAM J. Sci. Comput. 25 (2003)
553-569. Of M y' = f(y) with J = df/dy, a step is

    (M / δ - J) Δ = f(y),   y ← y + Δ,

which keeps what the equation keeps: c·y where c·f = 0. What a step is worth is judged by the simplified correction that
the same matrix gives after it, as in Deuflhard, Newton Methods for Nonlinear Problems (2004), sections 2.1 and 6.4; and
where the equation runs away from the iterate, δ stays below its time scale.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq.solvers.equilibrium import check_tolerances, started, vector
from symdeq.solvers.linearise import AbstractLinearisation, DenseLinearisation

# The first δ in units of 1 / |J|, and the largest, over the rounding unit; from this part of it on, rounding moves what
# f cannot change.
_FIRST = 0.1
_LARGEST, _ENOUGH = 1e-2, 1e-3
# The ratio of the correction after a step to the step that is aimed at, and that beyond which the step is taken back.
_AIM, _MOST = 0.25, 1.0
_GROWTH, _CUT = 10.0, 0.1
# δ times the rate at which the equation runs away: a step then doubles what grows.
_FOLLOWED = 0.5
_FRUITLESS = 25
# A distance of so many tolerances is that of no root: the Jacobian is singular but for rounding.
_HUGE = 1e12


class PseudoTransientState(eqx.Module):
    """What the iteration carries.

    Arguments:

    - `y`, `f`, `aux`: the accepted iterate, shape (n,), f there, and what f returned with it.
    - `delta`: δ of the next step, 0 before the first.
    - `part`: how much of the next step is taken, 1 unless algebraic equations ask for less.
    - `error`: an estimate of how far the iterate is from where the equation rests, in units of the tolerance.
    - `rejected`: steps taken back in a row.
    - `nfe`: the number of evaluations of f.
    """

    y: Array
    f: Array
    aux: PyTree
    delta: Array
    part: Array
    error: Array
    rejected: Array
    nfe: Array


class PseudoTransient(optx.AbstractRootFinder):
    """Where y' = f(y) comes to rest: implicit Euler steps that grow into Newton's method.

    An optimistix root finder, `optimistix.root_find(f, PseudoTransient(), y0)`, for any PyTree of real arrays. Unlike
    Newton's method it stays with the equation where that runs away from an unstable root, and keeps linear combinations
    of y that f cannot change, although its Jacobian is then singular. A step solves with one matrix, twice.

    `options={"linearise": function}` of the call takes a function (y, args) -> `AbstractLinearisation`, which brings a
    Jacobian, a mass matrix and a way to solve; default automatic differentiation, the identity and a dense LU.
    `options={"distance": function}` takes one (y, args) -> the length of Newton's step there, in tolerances, which is
    asked before the search ends; without it the end goes by an estimate from the last step. `options={"keep":
    function}` takes one (d, unit) -> the step d without what rounding adds to combinations that f cannot change.

    Arguments:

    - `rtol`, `atol`: the search ends where the estimated distance from the root is at most atol + rtol |y|, in each
        entry; defaults 1e-6 and 1e-9. `atol` may have the shape of the ravelled y.

    In the solution, `stats["nfe"]` is the number of evaluations of f; f is linearised `num_steps` times. The result is
    `nonlinear_divergence` where 25 steps in a row had to be taken back, `nonfinite` where f is not finite at the start.
    Raises `ModelError` for settings out of range.
    Source: Kelley and Keyes, SIAM J. Numer. Anal. 35 (1998) 508-523.
    """

    rtol: Any = 1e-6
    atol: Any = 1e-9
    norm: Callable[[PyTree], Array] = optx.max_norm

    def __check_init__(self):
        if jnp.ndim(self.atol) == 0:
            check_tolerances(self)

    def init(
        self, fn: Any, y: PyTree, args: PyTree, options: Any, f_struct: PyTree, aux_struct: PyTree, tags: Any
    ) -> PseudoTransientState:
        progress = started(y, f_struct, aux_struct)
        f, aux = fn(y, args)
        zero = jnp.zeros_like(progress.least)
        count = progress.nfe
        return PseudoTransientState(
            y=vector(y),
            f=vector(f),
            aux=aux,
            delta=zero,
            part=zero + 1,
            error=progress.least,
            rejected=count,
            nfe=count + 1,
        )

    def step(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: PseudoTransientState, tags: Any) -> Any:
        _, shape = ravel_pytree(y)
        here = shape(state.y)
        line = _linearise(options, fn, here, args)
        size = jnp.where(line.norm() > 0, line.norm(), 1)
        delta = jnp.where(state.nfe == 1, _FIRST / size, state.delta)

        solve = line.factorise(1 / delta)
        whole = _kept(options, vector(solve(shape(state.f))), self._unit(state.y))
        d = state.part * whole
        new = state.y + d
        f_tree, aux = fn(shape(new), args)
        f = vector(f_tree)
        held = vector(line.mass(shape(d))) / delta
        correction = vector(solve(shape(f - held)))

        unit = self._unit(jnp.maximum(jnp.abs(state.y), jnp.abs(new)))
        length, after = self.norm(d / unit), self.norm(correction / unit)
        bent = self.norm((correction - (1 - state.part) * whole) / unit)
        ratio = bent / jnp.where(length > 0, length, 1)
        moves = vector(line.mass(shape(jnp.ones_like(d)))) != 0
        passed = jnp.any(moves & self._passed(lambda v: vector(fn(shape(v), args)[0]), state.y, new, unit))
        good = jnp.all(jnp.isfinite(f)) & jnp.isfinite(length) & (ratio <= _MOST) & ~passed

        # The rate along the step, d·J d / d·d over what has a derivative; J d = M d / δ - f.
        way = jnp.where(moves, whole / unit, 0)
        square = jnp.sum(way * way)
        rate = 1 / delta - jnp.sum(way * state.f / unit) / jnp.where(square > 0, square, 1)

        # A mode of rate -r is left with 1 / (1 + δ r) of it after the step, which took away δ r times that.
        remains = jnp.where(square > 0, 1 / (delta * jnp.abs(rate)), 0)
        guessed = jnp.where(state.part < 1, jnp.inf, after + length * remains)
        last = _LARGEST / float(jnp.finfo(d.dtype).eps) / size
        enough = delta >= last * _ENOUGH
        error = self._measured(options, shape(new), args, guessed, good & (guessed <= 1), enough)

        longer = jnp.clip(_AIM / jnp.maximum(ratio, 1e-3), _CUT, _GROWTH)
        next_delta = delta * jnp.where(good, longer, _CUT)
        running = good & (rate > 0) & (square > 0)
        next_delta = jnp.where(running, jnp.minimum(next_delta, _FOLLOWED / rate), next_delta)
        next_delta = jnp.minimum(next_delta, last)

        def choose(new, old):
            return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)

        # A shorter δ shortens no step to where algebraic equations hold.
        part = jnp.where(good, jnp.minimum(2 * state.part, 1), state.part / 2) if line.has_mass else state.part

        moved = PseudoTransientState(
            y=choose(new, state.y),
            f=choose(f, state.f),
            aux=choose(aux, state.aux),
            delta=next_delta,
            part=part,
            error=jnp.where(good, error, state.error),
            rejected=jnp.where(good, 0, state.rejected + 1),
            nfe=state.nfe + 2,
        )
        return shape(moved.y), moved, moved.aux

    def _unit(self, y: Array) -> Array:
        return jnp.maximum(self.atol + self.rtol * jnp.abs(y), jnp.finfo(y.dtype).tiny)

    def _passed(self, f: Callable[[Array], Array], y: Array, new: Array, unit: Array) -> Array:
        """Which entries passed zero although the equation turns back there: an amount does not become negative."""
        passed = (jnp.abs(new) > unit) & (y * new <= 0)
        there = f(jnp.where(passed, 0, y)) * new
        return passed & jnp.where(y == 0, there < 0, there <= 0)

    def _measured(self, options: Any, y: PyTree, args: PyTree, guessed: Array, asked: Array, last: Array) -> Array:
        """The distance from the root where the call brings a way to measure it and the guess is small enough, else the
        guess. A measure that is not finite, of a singular Jacobian, leaves the guess where δ can grow no more."""
        measure = (options or {}).get("distance")
        if measure is None:
            return guessed
        found = jax.lax.cond(asked, lambda: measure(y, args), lambda: jnp.full_like(guessed, jnp.inf))
        return jnp.where(asked & last & ~(found < _HUGE), guessed, jnp.where(jnp.isnan(found), jnp.inf, found))

    def terminate(
        self, fn: Any, y: PyTree, args: PyTree, options: Any, state: PseudoTransientState, tags: Any
    ) -> tuple[Any, Any]:
        never = ~jnp.all(jnp.isfinite(state.f))
        lost = state.rejected >= _FRUITLESS
        failed = optx.RESULTS.where(never, optx.RESULTS.nonfinite, optx.RESULTS.nonlinear_divergence)
        stop = (state.error <= 1) | never | lost
        good = ~(never | lost)
        return stop, optx.RESULTS.where(good, optx.RESULTS.successful, failed)  # pyright: ignore[reportArgumentType]

    def postprocess(
        self,
        fn: Any,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: Any,
        state: PseudoTransientState,
        tags: Any,
        result: Any,
    ) -> Any:
        return y, aux, {"nfe": state.nfe, "error": state.error}


def _kept(options: Any, d: Array, unit: Array) -> Array:
    keep = (options or {}).get("keep")
    return d if keep is None else keep(d, unit)


def _linearise(options: Any, fn: Any, y: PyTree, args: PyTree) -> AbstractLinearisation:
    given = (options or {}).get("linearise")
    if given is not None:
        return given(y, args)
    flat, shape = ravel_pytree(y)
    jacobian = jax.jacfwd(lambda v: vector(fn(shape(v), args)[0]))(flat)
    return DenseLinearisation(y=y, jacobian=jacobian, dfdt=None)
