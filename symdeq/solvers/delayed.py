"""Delay differential equations: a wrapper that lets any diffrax solver with dense output solve them.

    y'(t) = f(t, y(t), y(t - τ_1), ..., y(t - τ_k)) from t0 on,    y(t) = history(t) before.

Within one step the past is known, so a step of an ordinary method with the delayed values looked up in the dense output
of earlier steps is a step of the method for delay equations. A step that is longer than a lag asks for values within
itself: the step is then repeated with its own dense output until it no longer changes. Bellen and Zennaro, Numerical
Methods for Delay Differential Equations (2003); Guglielmi and Hairer, Implementing Radau IIA methods for stiff delay
differential equations, Computing 67 (2001) 1-12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax._term import WrapTerm  # what diffeqsolve hands to a solver; it has no public name
from equinox.internal import unvmap_any  # a branch that no member of a batch needs is then not run
from jax import lax
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError
from symdeq.solvers.delay_term import DelayTerm, HeldTerm
from symdeq.solvers.kinks import Kinks, kink_at
from symdeq.solvers.past import Past, Step, no_past
from symdeq.solvers.wrapping import WrappedSolver

# Where a step is asked how far back it looks, as fractions of it, beside its start.
_PROBES = (0.25, 0.5, 0.75, 1.0)
# Where a step that passed a kink is asked how well its dense output satisfies the equation.
_DEFECTS = (0.3, 0.8)
# A repeated step is done when it changes by less than this part of the method's own error estimate.
_SETTLED = 1.0
# A lag below zero asks for the future. So much of a step of it is taken for rounding.
_FUTURE = 0.01
# A step of that part of the way from the start is too short for the error control to save it; and that part of a step
# may be extrapolated from the one before.
_SHORT = 1e-6


class DelayedState(eqx.Module):
    """What `Delayed` carries from step to step.

    - `inner`: the state of the solver that is wrapped.
    - `past`: the steps it remembers.
    - `kinks`: where it found the solution less smooth.
    - `lost`: whether the solve ended because a value was asked for that is no longer kept.
    - `ahead`: whether it ended because a lag was negative.
    """

    inner: PyTree
    past: Past
    kinks: Kinks
    lost: Array
    ahead: Array


class _Taken(eqx.Module):
    """What the inner solver's step gave."""

    y: PyTree
    error: PyTree
    info: PyTree
    state: PyTree
    result: Any


class Delayed(WrappedSolver):
    """Solves a `DelayTerm` by another solver, in one `diffrax.diffeqsolve`.

    Steps may be longer than a lag: such a step is repeated with its own dense output, and what its last repetition
    changed counts as error. The memory is bounded: where an equation looks back over more steps than are kept, the
    solve ends with `RESULTS.nonfinite`, and `solver_state.lost` says so (`SaveAt(solver_state=True)`). Constant lags
    deserve the step size controller `Breakpoints`. Of other lags the solver sees when they pass a point at which the
    solution is less smooth, and controls the error of such a step by the defect of its dense output.

    Arguments:

    - `solver`: any diffrax solver of ordinary differential equations whose steps can be interpolated.
    - `capacity`: how many steps are kept, default 64. The largest lag must not span more of them.
    - `sweeps`: how often a step that is longer than a lag is repeated at most, default 4.

    Raises `ModelError` for a term that is no `DelayTerm`.
    """

    solver: dfx.AbstractSolver
    capacity: int = eqx.field(static=True)
    sweeps: int = eqx.field(static=True)
    term_structure: ClassVar = dfx.AbstractTerm  # pyright: ignore[reportAssignmentType]

    def __init__(self, solver: dfx.AbstractSolver, capacity: int = 64, sweeps: int = 4):
        if capacity < 1 or sweeps < 1:
            raise ModelError(
                f"A delay equation cannot be solved with capacity={capacity} and sweeps={sweeps}.",
                remedy="give positive numbers, or leave them out",
            )
        self.solver, self.capacity, self.sweeps = solver, capacity, sweeps

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> DelayedState:
        _check_term(_own(terms)[0])
        inner = self.solver.init(terms, t0, t1, y0, args)
        taken = eqx.filter_eval_shape(self.solver.step, terms, t0, t1, y0, args, inner, False)
        t0, no = lax.stop_gradient(jnp.asarray(t0)), jnp.asarray(False)
        past = no_past(self.capacity, t0, taken[2], self.solver.interpolation_cls)
        return DelayedState(inner=inner, past=past, kinks=kink_at(t0), lost=no, ahead=no)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        term, direction = _own(terms)
        past, start, end = solver_state.past, jnp.asarray(t0), jnp.asarray(t1)

        def looks(t: Array, y: PyTree) -> list[Array]:
            return [s * direction for s in term.lagged(t * direction, y, args)]

        early = tuple(s < past.t0 for s in looks((start + end) / 2, y0))

        def hold(current: Step) -> HeldTerm:
            return HeldTerm(
                term=term, direction=direction, past=past, start=start, y=y0, current=current, from_history=early
            )

        def take(current: Step) -> _Taken:
            held = hold(current)
            inner = WrapTerm(held, direction) if isinstance(terms, WrapTerm) else held
            taken = _Taken(*self.solver.step(inner, t0, t1, y0, args, solver_state.inner, made_jump))
            # No derivative goes through the choice of steps; said here, it is not carried through the repetitions.
            return eqx.tree_at(lambda v: v.error, taken, replace_fn=_fixed, is_leaf=lambda v: v is None)

        def as_step(taken: _Taken) -> Step:
            return Step(start=start, end=end, info=taken.info)

        def look(taken: _Taken) -> tuple[Any, Array, Array]:
            """The curve of a step, and the delayed times at its start and along it."""
            curve = self.solver.interpolation_cls(t0=start, t1=end, **taken.info)
            points = start + jnp.asarray(_PROBES, start.dtype) * (end - start)
            along = jax.vmap(lambda t: jnp.stack(looks(t, curve.evaluate(t))))(points)
            return curve, jnp.stack(looks(start, y0)), along

        def within(taken: _Taken) -> Array:
            # A step as long as the lag must not be repeated for rounding.
            return jnp.any(look(taken)[2] > start + _SHORT * (end - start))

        taken, change = self._settled(past.last, take, as_step, within)
        curve, first, along = look(taken)

        error, kinks = taken.error, solver_state.kinks
        if error is not None:
            error = jax.tree.map(lambda e, c: jnp.maximum(jnp.abs(e), c), error, change)
        if not term.met:
            level = kinks.passed(first, along[-1])
            bent = kinks.matters(level)
            kinks = kinks.with_step(_fixed(start), _fixed(end), level)
            if error is not None:
                held = hold(as_step(taken))
                defect = lax.cond(
                    unvmap_any(bent), lambda: _defect(held, curve, start, end, direction, args), lambda: _zeros(y0)
                )
                error = jax.tree.map(lambda e, d: jnp.where(bent, jnp.maximum(e, d), e), error, defect)

        lost, ahead, doubtful = _out_of_reach(past, start, end, first, along, has_error=error is not None)
        failed = lost | ahead
        # A failed step has to be accepted, or diffrax would try it again and again.
        y = jax.tree.map(lambda v: jnp.where(failed, jnp.nan, v), taken.y)
        error = jax.tree.map(lambda e: jnp.where(failed, 0, jnp.where(doubtful, jnp.inf, e)), error)
        not_kept: Any = dfx.RESULTS.nonfinite
        result = dfx.RESULTS.where(failed, not_kept, taken.result)
        state = DelayedState(taken.state, past.with_step(as_step(taken)), kinks, lost, ahead)
        return y, error, taken.info, state, result

    def _settled(
        self,
        last: Step,
        take: Callable[[Step], _Taken],
        as_step: Callable[[_Taken], Step],
        within: Callable[[_Taken], Array],
    ) -> tuple[_Taken, PyTree]:
        """A step, repeated until it no longer changes if it looks `within` itself, and its last change."""

        def sweep(carry: Any, number: Any) -> Any:
            known, before, change, wanted = carry

            def repeat() -> Any:
                after = take(known)
                changed = jax.tree.map(lambda a, b: jnp.abs(a - b), _fixed(after.y), _fixed(before.y))
                changed = jax.tree.map(lambda c: jnp.where(number == 0, 0, c), changed)
                settled = (number > 0) & _small(after, changed)
                return as_step(after), after, changed, within(after) & ~settled

            after = lax.cond(unvmap_any(wanted), repeat, lambda: carry)
            return _where(wanted, after, (known, before, change, jnp.asarray(False))), None

        # A loop from the very first time on, so that the step is compiled, and differentiated, only once.
        kinds = jax.eval_shape(take, last)
        empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), kinds)
        start = (last, empty, _zeros(empty.y), jnp.asarray(True))
        _, taken, change, _ = lax.scan(sweep, start, jnp.arange(self.sweeps + 1))[0]
        return taken, change


def _out_of_reach(
    past: Past, start: Array, end: Array, first: Array, along: Array, *, has_error: bool
) -> tuple[Array, Array, Array]:
    """Whether a step asked for values that are no longer kept, whether for the future, and whether perhaps for either.

    `first` holds the delayed times at its start, `along` those along it. What is wrong along a step may be wrong only
    because the step was too long, if there is an error to say so.
    """
    h = end - start
    lost, ahead = past.lost(first), first > start + _FUTURE * h
    lost_along, ahead_along = jnp.any(past.lost(along)), jnp.any(along > end + _FUTURE * h)
    short = h <= _SHORT * (start - past.t0) if has_error else jnp.asarray(True)
    return jnp.any(lost) | (lost_along & short), jnp.any(ahead) | (ahead_along & short), lost_along | ahead_along


def _defect(held: HeldTerm, curve: Any, start: Array, end: Array, direction: Any, args: PyTree) -> PyTree:
    """By how much the step's dense output fails the equation, times the length of the step: Enright and Hayashi, A
    delay differential equation solver based on a continuous Runge-Kutta method with defect control, Numer. Algorithms
    16 (1997) 349-364."""

    def off(t: Array) -> PyTree:
        y, slope = jax.jvp(curve.evaluate, (t,), (jnp.ones_like(t),))
        f = held.vf(t * direction, y, args)
        return jax.tree.map(lambda s, v: jnp.abs((end - start) * (s - direction * v)), slope, f)

    held, curve, start, end, args = _fixed((held, curve, start, end, args))
    points = start + jnp.asarray(_DEFECTS, start.dtype) * (end - start)
    return jax.tree.map(lambda v: jnp.max(v, axis=0), jax.vmap(off)(points))


def _own(terms: Any) -> tuple[Any, Any]:
    """The term, and the direction of its time."""
    direction = 1
    while isinstance(terms, WrapTerm):
        terms, direction = terms.term, direction * terms.direction
    return terms, direction


def _check_term(term: Any) -> None:
    if not isinstance(term, DelayTerm):
        raise ModelError(
            f"The term is a {type(term).__name__}, which has no lags for `Delayed` to look up.",
            remedy="give a DelayTerm, or use the solver without `Delayed`",
        )


def _where(condition: Array, a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def _small(taken: _Taken, change: PyTree) -> Array:
    """Whether a repetition changed next to nothing. Without an error estimate only rounding is nothing."""
    error = _zeros(taken.y) if taken.error is None else taken.error
    rounding = jax.tree.map(lambda v: 4 * jnp.finfo(v.dtype).eps * jnp.abs(v), taken.y)
    small = jax.tree.map(lambda c, e, r: jnp.all(c <= _SETTLED * jnp.abs(e) + r), change, error, rounding)
    return jnp.all(jnp.stack(jax.tree.leaves(small)))


def _fixed(tree: PyTree) -> PyTree:
    """The tree without its derivative."""
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lax.stop_gradient, arrays), rest)


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)
