"""What `solve` was asked for, checked: everything that can be known before the first step is refused here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq._values import as_array, concrete
from symdeq.compiled import Model
from symdeq.model import ModelSymbol
from symdeq.solve import dde, poisson, sde
from symdeq.solve.gradient import adjoint_of
from symdeq.solve.method import Method, choose
from symdeq.solve.ode import elimination_of
from symdeq.solve.request import Request
from symdeq.solve.saveat import check_saveat
from symdeq.solve.stiffness import probe
from symdeq.solvers import BDF
from symdeq.solvers.elimination import Elimination

_TOLERANCES = {"float64": (1e-6, 1e-9), "float32": (1e-4, 1e-7)}


def check(
    model: Any,
    *,
    t0: Any,
    t1: Any,
    saveat: Any,
    rtol: Any,
    atol: Any,
    solver: Any,
    adjoint: Any,
    y0: Any,
    max_steps: Any,
    key: Any,
) -> tuple[Request, str]:
    """Turn the arguments of `solve` into a `Request` and the reason for its method, or raise `ModelError`."""
    _check_model(model, "solve")
    _check_key(model, key)
    _check_steps(max_steps)
    _check_parameters(model)
    t0, t1 = _interval(model, t0, t1, saveat)
    saveat, at_steps, plain = check_saveat(saveat, t0, t1, model.values.dtype)
    if sde.is_random(model) and saveat.dense:
        raise ModelError("A path with noise has no values between its steps.", remedy="give times to save at")
    rtol, atol = _tolerances(model, rtol, atol)
    capacity, sweeps = 0, None
    if dde.has_delays(model):
        solver, capacity, sweeps = dde.unwrapped(solver)
        if at_steps and concrete(t0, t1, *jax.tree.leaves(eqx.filter(model, eqx.is_array))):
            saveat = dataclasses.replace(saveat, dense=True)  # what lies between the steps is asked for by delays
    noisy = sde.is_noisy(model)
    method = sde.choose(model, solver, t0, t1, atol / rtol) if noisy else _method(model, solver, rtol, atol, t0, t1)
    adjoint = _adjoint(model, adjoint, int(max_steps), method, at_single_times=plain and not at_steps, saveat=saveat)
    y0 = jnp.asarray(_y0(model, y0, t0))
    if capacity:
        dde.check(model, t0, t1, y0, adjoint)
    request = Request(
        model=model,
        t0=jnp.asarray(t0),
        t1=jnp.asarray(t1),
        y0=y0,
        rtol=jnp.asarray(rtol),
        atol=jnp.asarray(atol),
        start_implicit=jnp.asarray(method.start_implicit),
        saveat=saveat,
        adjoint=adjoint,
        key=key,
        # The reason quotes numbers; apart from the request, they cannot make a new program of it.
        method=dataclasses.replace(method, reason="", start_implicit=False),
        max_steps=int(max_steps),
        capacity=capacity,
        sweeps=sweeps,
        room=poisson.checked_room(model, method.solver, t0, t1, y0, int(max_steps)),
        at_steps=at_steps,
        plain=plain,
    )
    return request, method.reason


def _check_key(model: Model, key: Any) -> None:
    random = sde.is_random(model)
    if key is not None and not random:
        raise ModelError(
            f"`{model.system.name}` has no noise and no random jumps, so key= has no use.", remedy="leave key= out"
        )
    if random and key is None:
        raise ModelError(
            f"`{model.system.name}` has {sde.sources(model)}, and needs a key to draw their path.",
            remedy="sd.solve(model, ..., key=jax.random.key(0)); several paths are jax.vmap over keys",
        )


def _check_steps(max_steps: Any) -> None:
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise ModelError(
            f"max_steps must be a whole number from 1 on, not {max_steps!r}.",
            remedy="it bounds the work; default 4096",
        )


def _interval(model: Model, t0: Any, t1: Any, saveat: Any) -> tuple[Array, Array]:
    """Start and end, by default the last time to save at."""
    dtype = model.values.dtype
    listed = isinstance(saveat, list | tuple | np.ndarray | jax.Array) and np.ndim(saveat) == 1
    if t1 is None and listed and len(saveat):
        t1 = saveat[-1]
    t0, t1 = _time(t0, "t0", model, dtype), _time(t1, "t1", model, dtype)
    if concrete(t0, t1) and float(t0) == float(t1):
        raise ModelError(f"The interval is empty: t0 = t1 = {float(t0):g}.", remedy="give t1 different from t0")
    if sde.is_random(model) and concrete(t0, t1) and float(t1) < float(t0):
        raise ModelError("An equation with noise runs forward in time.", remedy="give t1 above t0")
    return t0, t1


def _tolerances(model: Model, rtol: Any, atol: Any) -> tuple[Array, Array]:
    dtype = model.values.dtype
    defaults = (sde.DEFAULT_RTOL, sde.DEFAULT_ATOL) if sde.is_noisy(model) else default_tolerances(dtype)
    rtol = checked_tolerance(defaults[0] if rtol is None else rtol, "rtol", (), dtype)
    atol = checked_tolerance(defaults[1] if atol is None else atol, "atol", (model.size,), dtype)
    least = 10 * float(jnp.finfo(dtype).eps)
    if concrete(rtol) and float(rtol) < least:
        raise ModelError(
            f"rtol = {float(rtol):g} is below what {dtype} can resolve ({least:.1g}).",
            remedy='loosen it, or compute in float64: jax.config.update("jax_enable_x64", True) before compiling',
        )
    return rtol, atol


def _adjoint(
    model: Model, adjoint: Any, max_steps: int, method: Method, *, at_single_times: bool, saveat: dfx.SaveAt
) -> Any:
    weights = sum(leaf.size for leaf in jax.tree.leaves(model.networks) if eqx.is_inexact_array(leaf))
    chosen = adjoint_of(
        adjoint,
        max_steps,
        model.size,
        values=model.values.size + model.size + weights,
        heavy_state=isinstance(method.solver, BDF),
        delays=dde.has_delays(model),
    )
    if isinstance(chosen, dfx.BacksolveAdjoint) and not (
        at_single_times and (saveat.subs.t1 or saveat.subs.ts is not None)
    ):
        raise ModelError(
            "BacksolveAdjoint needs times to save at.",
            remedy="give saveat an array of times, or diffrax.SaveAt(t1=True)",
        )
    return chosen


def checked_start(model: Any, y0: Any, who: str) -> Array:
    """Where a model starts, shape (n,), once the model is what it should be, or `ModelError`."""
    _check_model(model, who)
    _check_parameters(model)
    return jnp.asarray(_y0(model, y0, jnp.zeros((), model.values.dtype)))


def default_tolerances(dtype: Any) -> tuple[float, float]:
    """Relative and absolute."""
    return _TOLERANCES.get(str(dtype), _TOLERANCES["float32"])


def _check_model(model: Any, who: str) -> None:
    if not isinstance(model, Model):
        raise ModelError(
            f"{who} needs a compiled model, not {type(model).__name__}.",
            remedy=f"model = sd.compile(system); sd.{who}(model, ...)",
        )


def _check_parameters(model: Model) -> None:
    if concrete(model.values):
        bad = [s.name for s, v in zip(model.parameters, np.asarray(model.values), strict=True) if not np.isfinite(v)]
        if bad:
            raise ModelError(
                f"Parameter {', '.join(f'`{name}`' for name in bad)} of `{model.system.name}` has no finite value.",
                remedy=f"model = model.replace({{{bad[0]!r}: value}})",
            )


def _time(value: Any, name: str, model: Model, dtype: Any) -> Array:
    if value is None:
        raise ModelError("solve needs t1, the end of the interval.", remedy="sd.solve(model, t1=10.0)")
    value = model.constant(value, name)
    try:
        value = as_array(value, dtype)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be a number or an expression in parameters, not {value!r}.") from None
    if value.ndim:
        raise ModelError(
            f"{name} must be a single time, not an array of shape {value.shape}.",
            remedy="times to save at are saveat=; batches are jax.vmap",
        )
    if concrete(value) and not math.isfinite(float(value)):
        raise ModelError(
            f"{name} = {float(value)} is not finite.",
            remedy="give a finite time",
        )
    return value


def checked_tolerance(value: Any, name: str, vector: tuple[int, ...], dtype: Any) -> Array:
    """A positive, finite tolerance, one number or of the shape `vector`, or `ModelError`."""
    try:
        value = as_array(value, dtype)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be a number, not {value!r}.", remedy="give a number such as 1e-6") from None
    if value.shape not in ((), vector):
        raise ModelError(
            f"{name} has the shape {value.shape}; it must be a number{f' or have shape {vector}' if vector else ''}.",
            remedy="give one number" + (", or one a state" if vector else ""),
        )
    if concrete(value) and not (np.isfinite(value) & (value > 0)).all():
        raise ModelError(f"{name} must be positive and finite, not {value}.", remedy="give a number such as 1e-6")
    return value


def _y0(model: Model, y0: Any, t0: Array) -> Array:
    """The initial state, shape (n,)."""
    if isinstance(y0, Mapping):
        for name in y0:
            if model.position(name)[0] != "state":
                raise ModelError(
                    f"y0 gives a value for `{name}`, which is not a state.", remedy="use model.replace for parameters"
                )
        model, y0 = model.replace(y0), None
    n = model.size
    if y0 is None:
        missing = dde.without_start(model)
        if missing:
            raise ModelError(
                f"{', '.join(f'`{s}`' for s in missing)} of `{model.system.name}` has no initial value.",
                remedy=_how_to_start(missing[0]),
            )
        return dde.initial_state(model, t0)
    try:
        value = as_array(y0, model.values.dtype)
    except (TypeError, ValueError):
        raise ModelError(f"y0={y0!r} is neither an array nor a dictionary.") from None
    if value.shape != (n,):
        names = ", ".join(model.labels[:12]) + (", ..." if n > 12 else "")
        raise ModelError(
            f"y0 has the shape {value.shape}; `{model.system.name}` has {n} states: {names}.",
            remedy="give one number a state, in that order; batches are jax.vmap",
        )
    if concrete(value) and not np.isfinite(value).all():
        raise ModelError(f"y0 is not finite: {value}.")
    return value


def _how_to_start(state: ModelSymbol) -> str:
    if "derivative of" in state.description:
        order, _, name = state.description.removeprefix("the ").partition(" derivative of ")
        of = f"D({name})" if order == "first" else f"D({name}, {order})"
        return f"sd.System(..., initial={{{of}: value}}), or y0={{{state.name!r}: value}}"
    return f'sd.state("{state.name}", value), or y0={{{state.name!r}: value}}'


def _method(model: Model, solver: Any, rtol: Array, atol: Array, t0: Array, t1: Array) -> Method:
    known = float(rtol) if concrete(rtol) else None
    scale = float(np.max(atol)) / known if known is not None and concrete(atol) else 1e-3
    duration = abs(float(t1) - float(t0)) if concrete(t0, t1) else math.inf
    start = model.declared_start(float(t0) if concrete(t0) else 0.0)
    elimination = elimination_of(model.functions) if model.generated.vectorised else None
    # A multistep method is nothing for delays.
    dense = elimination.rest if isinstance(elimination, Elimination) and not dde.has_delays(model) else 0
    structure = model.system.structure
    assert structure is not None
    linear = bool(structure.sparsity) and structure.linear >= set(structure.sparsity)
    looked = probe(*start, duration, scale)
    whole = not model.functions.has_jacobian
    return choose(solver, kind=model.kind, rtol=known, probe=looked, dense=dense, linear=linear, whole=whole)
