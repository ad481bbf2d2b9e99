"""Delay differential equations: the term, steps that end where the solution is less smooth, the linearisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError, UnsupportedError
from symdeq._values import concrete
from symdeq.codegen import Functions, host_functions
from symdeq.compiled import Model
from symdeq.solve.ode import GeneratedLinearisation
from symdeq.solvers import (
    BDF,
    AbstractLinearisation,
    Breakpoints,
    Delayed,
    DelayTerm,
    FirstStep,
    breakpoints,
    linearise,
)
from symdeq.solvers.delay_term import HeldTerm

if TYPE_CHECKING:
    from symdeq.solve.solution import Solution

# So many breakpoints are stepped on; with many lags the later ones, at which only high derivatives jump, are left to
# the error control.
_MOST_BREAKPOINTS = 400
# How many steps are kept at first, and by how much more where that was too few.
CAPACITY, _MORE = 64, 8


class VectorField(eqx.Module):
    """The generated right-hand sides, from the whole state at each of the lags."""

    functions: Functions = eqx.field(static=True)

    def __call__(self, t: Any, y: Any, delayed: tuple[Any, ...], args: Any) -> Any:
        return self.functions.rhs(t, y, args, self.functions.past(delayed))


class LagOf(eqx.Module):
    """One lag, generated; from the parameters that are solved with, so that a derivative needs nothing else."""

    functions: Functions = eqx.field(static=True)
    number: int = eqx.field(static=True)

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        return self.functions.lags(t, y, args)[self.number]


class History(eqx.Module):
    """The states before the start: as they were given, else as they start."""

    functions: Functions = eqx.field(static=True)
    start: Array

    def __call__(self, t: Any, args: Any) -> Any:
        given = _given(self.functions)
        if not given.any():
            return self.start
        return jnp.where(given, self.functions.history(t, args).astype(self.start.dtype), self.start)


class Delays(eqx.Module):
    """The term of a delay equation, once it is known where it starts.

    The initial values are handed over at the last moment, so that they are among what is differentiated only once.
    """

    functions: Functions = eqx.field(static=True)
    met: bool = eqx.field(static=True)

    def __call__(self, y0: Array) -> DelayTerm:
        lags = [LagOf(self.functions, i) for i in range(len(self.functions.generated.lag_kinds))]
        return DelayTerm(VectorField(self.functions), lags, History(self.functions, y0), met=self.met)


class LagTimes(eqx.Module):
    """The breakpoints of the constant lags of a `Delays`, and the shortest lag, where a solve begins."""

    functions: Functions = eqx.field(static=True)
    order: int = eqx.field(static=True)

    def __call__(self, t0: Array, y0: Array, args: Any) -> tuple[Array, Array | None]:
        lags = constant_lags(self.functions, t0, y0, args)
        times = breakpoints(t0, lags, _depth(len(lags), self.order))
        return times, jnp.min(jnp.stack(lags)) if lags else None


def _depth(lags: int, order: int) -> int:
    """The order up to which breakpoints are stepped on."""
    while order > 0 and _count(lags, order) > _MOST_BREAKPOINTS:
        order -= 1
    return order


def _count(lags: int, order: int) -> int:
    return math.comb(order + 1 + lags, lags) - 1


def controller(inner: FirstStep, functions: Functions, order: int) -> Breakpoints:
    """A controller whose steps end where the solution is less smooth for a method of that order."""
    return Breakpoints(inner, LagTimes(functions, order))


def term(functions: Functions, controller: Any) -> Delays:
    """The term of a delay equation whose steps this controller chooses."""
    kinds = functions.generated.lag_kinds
    times = controller.times if isinstance(controller, Breakpoints) else None
    if not isinstance(times, LagTimes) or not all(kind == "constant" for kind in kinds):
        return Delays(functions, met=False)
    return Delays(functions, met=_depth(len(kinds), times.order) == times.order)


def constant_lags(functions: Functions, t: Any, y: Any, args: Any) -> list[Array]:
    """The lags that are numbers as soon as the parameters are."""
    kinds = functions.generated.lag_kinds
    return [lag for lag, kind in zip(functions.lags(t, y, args), kinds, strict=True) if kind == "constant"]


def has_delays(model: Model) -> bool:
    """Whether a model looks back."""
    return bool(model.generated.delayed)


def refuse_delays(model: Model, what: str) -> None:
    """`UnsupportedError` where something does not know delays."""
    if has_delays(model):
        named = ", ".join(f"`{symbol}`" for symbol in model.delayed[:3])
        raise UnsupportedError(
            f"`{model.system.name}` has delays, {named}, which {what} does not know.", remedy="use sd.solve"
        )


def initial_state(model: Model, t0: Array) -> Array:
    """The initial values, where there are none the end of the history."""
    y0 = model.initial_state()
    missing = set(model.missing_initial)
    if not missing or not has_delays(model):
        return y0
    sizes = model.generated.sizes
    taken = np.repeat(np.array([s in missing for s in model.states]), sizes) & _given(model.functions)
    return jnp.where(taken, model.functions.history(t0, model.args).astype(y0.dtype), y0) if taken.any() else y0


def without_start(model: Model) -> tuple[Any, ...]:
    """States that have neither an initial value nor a history."""
    kinds = model.generated.history_kinds or ("missing",) * len(model.states)
    given = {s for s, kind in zip(model.states, kinds, strict=True) if kind == "given"}
    return tuple(s for s in model.missing_initial if s not in given)


def unwrapped(solver: Any) -> tuple[Any, int, int | None]:
    """The solver of a single step, how many steps are to be kept, and how often one is repeated if that was said."""
    inner, capacity, sweeps = solver, CAPACITY, None
    if isinstance(solver, Delayed):
        inner, capacity, sweeps = solver.solver, solver.capacity, solver.sweeps
    if isinstance(inner, BDF):
        raise UnsupportedError(
            "BDF keeps its own past steps, and does not solve equations with delays.",
            remedy='use solver="auto" or sd.Rodas5P()',
        )
    return inner, capacity, sweeps


def check(model: Model, t0: Array, t1: Array, y0: Array, adjoint: Any) -> None:
    """Raise `ModelError` for an interval, lags or a history that cannot be right, as far as their values are known."""
    if isinstance(adjoint, dfx.BacksolveAdjoint):
        raise UnsupportedError(
            f"BacksolveAdjoint runs `{model.system.name}` backwards, and its delays would ask for the future.",
            remedy='use adjoint="auto"',
        )
    if concrete(t0, t1) and float(t1) < float(t0):
        raise ModelError("An equation with delays runs forward in time.", remedy="give t1 above t0")
    if not concrete(t0, y0, *jax.tree.leaves(eqx.filter(model.args, eqx.is_array))):
        return
    lags = [float(lag) for lag in _lags_now(model.functions, t0, y0, model.args)]
    for lag, slot in zip(lags, model.system.delays, strict=True):
        if not lag >= 0:
            raise ModelError(
                f"The lag {slot.expression} of {', '.join(f'`{s}`' for s in slot.lagged)} is {lag:g} at t = "
                f"{float(t0):g}: the equations ask for the future.",
                remedy="give parameters and initial values for which every lag is zero or more",
            )
    kinds = model.generated.lag_kinds
    needed = [(lag, s) for lag, kind, slot in zip(lags, kinds, model.system.delays, strict=True) for s in slot.lagged]
    histories = {e.lhs: e for e in model.system.history}
    for lag, symbol in needed:
        if symbol.state not in histories:
            continue
        for when in (float(t0), float(t0) - lag):
            value = np.asarray(_history_at(model.functions, jnp.asarray(when, y0.dtype), model.args))
            if not np.isfinite(value[model.place(model.states.index(symbol.state))]).all():
                raise ModelError(
                    f"The history of `{symbol.state}` is not finite at t = {when:g}, where `{symbol}` needs it.",
                    where=str(histories[symbol.state]),
                    remedy=f"give a history from t = {float(t0) - lag:g} to t = {float(t0):g}",
                )


def _lags_now(functions: Functions, t: Any, y: Any, args: Any) -> Any:
    on_host = host_functions(functions.generated)
    if on_host is None:
        return functions.lags(t, y, args)
    with np.errstate(all="ignore"):
        return on_host["lags"](np.asarray(t), np.asarray(y), np.asarray(args))


def _history_at(functions: Functions, t: Array, args: Any) -> Any:
    on_host = host_functions(functions.generated)
    if on_host is None:
        return functions.history(t, args)
    with np.errstate(all="ignore"):
        return on_host["history"](np.asarray(t), np.asarray(args))


def _given(functions: Functions) -> np.ndarray:
    """For each number of the state vector whether it has a history."""
    generated = functions.generated
    return np.repeat(np.array([kind == "given" for kind in generated.history_kinds]), generated.sizes)


def more_capacity(capacity: int, max_steps: int) -> int | None:
    """How many steps to keep where `capacity` were too few; `None` if more would not help."""
    return min(capacity * _MORE, max_steps) if capacity < max_steps else None


def delayed(solver: dfx.AbstractSolver, capacity: int, sweeps: int | None) -> Delayed:
    """A solver that keeps so many steps."""
    return Delayed(solver, capacity) if sweeps is None else Delayed(solver, capacity, sweeps)


@eqx.filter_jit
def _past_along(solution: Solution, ts: Array, ys: Array) -> Array:
    functions, args = solution.model.functions, solution.model.args
    looked, t0 = Delays(functions, met=True)(solution.y0), solution.t0
    assert solution.raw is not None
    dense: Any = solution.raw

    def at(t: Array, y: Array) -> Array:
        values = []
        for s in looked.lagged(t, y, args):
            within = jnp.clip(s, t0, solution.t_end)
            values.append(jnp.where(s < t0, looked.history(jnp.minimum(s, t0), args), dense.evaluate(within)))
        return functions.past(values)

    return jax.vmap(at)(ts, ys)


def past_along(solution: Solution, ts: Any, ys: Any) -> Array:
    """The delayed values at times of a dense solution, given the states there, shape (times, delayed)."""
    if solution.raw is None or solution.raw.interpolation is None:
        raise ModelError(
            f"The solution of `{solution.model.system.name}` was saved at single times only, and its delayed values "
            "lie between them.",
            remedy="solve with saveat=diffrax.SaveAt(ts=..., dense=True)",
        )
    return _past_along(solution, jnp.asarray(ts, solution.y0.dtype), jnp.asarray(ys, solution.y0.dtype))


@linearise.register(HeldTerm)
def _(held: Any, t: Any, y: Any, args: Any) -> AbstractLinearisation:
    field = held.term.vector_field
    known = isinstance(field, VectorField) and field.functions.has_jacobian
    if not known or "state" in field.functions.generated.lag_kinds:  # then delayed values change with y as well
        return linearise.dispatch(object)(held, t, y, args)
    t = jnp.asarray(t)
    functions = field.functions
    _, dfdt = jax.jvp(lambda t: held.vf(t, y, args), (t,), (jnp.ones_like(t),))
    past = functions.past(held.delayed(t, y, args))
    return GeneratedLinearisation(
        functions=functions, nonzeros=functions.jac(t, y, args, past), dfdt=dfdt, dtype=y.dtype
    )
