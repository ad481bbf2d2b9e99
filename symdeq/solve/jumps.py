"""`simulate`: reactions one by one, exactly, on as many paths as asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from symdeq._errors import ModelError, SolveError, UnsupportedError
from symdeq._values import as_array, concrete
from symdeq.compiled import Model, compile
from symdeq.model import JumpProcess, ReactionNetwork
from symdeq.solve.door import checked_start
from symdeq.solve.jump_solution import JumpSolution
from symdeq.solve.saveat import check_saveat
from symdeq.solvers.gillespie import Path, direct_method

_TIMES = 101


class _Request(eqx.Module):
    """A checked call of `simulate`."""

    model: Model
    y0: Array
    t0: Array
    t1: Array
    ts: Array
    key: Array
    process: JumpProcess = eqx.field(static=True)
    paths: int = eqx.field(static=True)
    max_jumps: int = eqx.field(static=True)


def simulate(
    network: ReactionNetwork | JumpProcess,
    t1: Any = None,
    t0: Any = 0.0,
    saveat: Any = None,
    *,
    key: Any = None,
    paths: int = 1,
    values: Mapping[Any, Any] | None = None,
    max_jumps: int = 1_000_000,
    throw: bool = True,
) -> JumpSolution:
    """Simulate reactions one by one, exactly: counts of molecules that jump, by Gillespie's direct method.

    Works under `jax.jit` and `jax.vmap`, over keys and values; new values never recompile. Counts have no derivatives,
    and `jax.grad` is refused. The paths run in lockstep, each with random numbers of its own; a path does not depend on
    the times it is saved at.

    Arguments:

    - `network`: from `reactions`, or its `jumps()`.
    - `t1`: the end, a number, or an expression in parameters. May be left out if `saveat` is an array: its last time.
    - `t0`: the start, likewise; default 0.
    - `saveat`: the times to save at, in order, shape (times,); or a number, the spacing. Default: 101 from `t0` to
        `t1`.
    - `key`: a `jax.random.key`: the same key gives the same paths. Required.
    - `paths`: how many; default 1.
    - `values`: parameters and counts at the start, by symbol or name, over those that were declared.
    - `max_jumps`: a path that needs more reactions than this is stopped, and says so; default 1,000,000.
    - `throw`: raise an error if a path fails (default), or return what there is: `solution.ok` and `solution.failures`.
        Inside `jax.jit` nothing can be raised.

    Returns a `JumpSolution`. Raises `ModelError` for arguments that cannot be right, such as a count at the start that
    is not whole, `UnsupportedError` for rates that depend on `t`, and `SolveError` for paths that failed.

    D. T. Gillespie, Exact stochastic simulation of coupled chemical reactions, J. Phys. Chem. 81 (1977) 2340-2361.
    """
    request = _checked(network, t1, t0, saveat, key, paths, values, max_jumps)
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(request))
    path = _simulated(request) if traced else _compiled_run(request)
    solution = JumpSolution(
        ts=request.ts,
        ys=path.ys,
        model=request.model,
        stats={"num_jumps": path.num_jumps},
        t0=request.t0,
        t1=request.t1,
        t_end=path.t_end,
        y_end=path.y_end,
        result=path.result,
        process=request.process,
        max_jumps=request.max_jumps,
    )
    if not traced and throw and not np.all(solution.ok):
        raise SolveError(solution.failure)
    return solution


def _simulated(request: _Request) -> Path:
    model, process = _held(request.model), request.process
    place = {s.name: i for i, s in enumerate(process.species)}
    changes = np.array(process.changes)[:, [place[s.name] for s in model.states]]
    dtype = request.y0.dtype
    until = jnp.append(request.ts, request.t1)

    def propensities(y: Array) -> Array:
        return jnp.stack(model.evaluate(process.propensities, jnp.zeros((), dtype), y))

    def one(key: Array) -> Path:
        return direct_method(
            propensities, jnp.asarray(changes, dtype), request.y0, request.t0, until, key, request.max_jumps
        )

    path = jax.vmap(one)(jax.random.split(request.key, request.paths))
    return eqx.tree_at(lambda p: p.ys, path, path.ys[:, :-1])


_compiled_run = eqx.filter_jit(_simulated)


def _held(model: Model) -> Model:
    """The model with values that may not be differentiated."""
    values, rest = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(_undifferentiated(values), rest)


@jax.custom_jvp
def _undifferentiated(values: Any) -> Any:
    return values


@_undifferentiated.defjvp
def _(primals: Any, tangents: Any) -> Any:
    raise UnsupportedError(
        "Counts that jump have no derivatives, and the slope of their mean is not the mean of their slopes.",
        remedy="differentiate a solve of network.ode() or network.langevin(), or take differences of means",
    )


def _checked(
    network: Any, t1: Any, t0: Any, saveat: Any, key: Any, paths: Any, values: Any, max_jumps: Any
) -> _Request:
    process = network.jumps() if isinstance(network, ReactionNetwork) else network
    if not isinstance(process, JumpProcess):
        raise ModelError(
            f"simulate needs a network of reactions, not {type(network).__name__}.",
            remedy="network = sd.reactions([sd.Reaction(...), ...]); sd.simulate(network, ...)",
        )
    if key is None:
        raise ModelError("simulate draws random numbers and needs a key.", remedy="key=jax.random.key(0)")
    if not hasattr(key, "dtype") or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim:
        raise ModelError(f"{key!r} is not one key.", remedy="key=jax.random.key(0); several keys go by jax.vmap")
    for number, name, most in ((paths, "paths", math.inf), (max_jumps, "max_jumps", 2**31 - 1)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 1 <= number <= most:
            raise ModelError(f"{name} must be a whole number from 1 on, not {number!r}.", remedy="give a whole number")
    model = compile(process.equations).replace(values or {})
    missing = model.missing_initial
    if missing:
        raise ModelError(
            f"{', '.join(f'`{s}`' for s in missing)} of `{process.name}` has no count at the start.",
            remedy=f'sd.state("{missing[0]}", count), or values={{{missing[0].name!r}: count}}',
        )
    y0 = checked_start(model, None, "simulate")
    _check_counts(y0, model)
    if t1 is None and isinstance(saveat, list | tuple | np.ndarray | jax.Array) and np.ndim(saveat) == 1:
        t1 = saveat[-1] if len(saveat) else None
    dtype = model.values.dtype
    t0, t1 = _time(t0, "t0", model, dtype), _time(t1, "t1", model, dtype)
    if concrete(t0, t1) and not float(t0) < float(t1):
        raise ModelError(
            f"The interval from t0 = {float(t0):g} to t1 = {float(t1):g} is empty.", remedy="give t1 after t0"
        )
    if isinstance(saveat, dfx.SaveAt):
        raise ModelError("simulate saves at times only.", remedy="give an array of times, or a spacing")
    if saveat is None:
        ts = jnp.linspace(jnp.asarray(t0), jnp.asarray(t1), _TIMES)
    else:
        ts: Any = check_saveat(saveat, t0, t1, dtype)[0].subs.ts
    return _Request(
        model=model,
        y0=y0,
        t0=jnp.asarray(t0),
        t1=jnp.asarray(t1),
        ts=ts,
        key=key,
        process=process,
        paths=int(paths),
        max_jumps=int(max_jumps),
    )


def _check_counts(y0: Array, model: Model) -> None:
    if not concrete(y0):
        return  # checked in the program, reported by `solution.ok`
    counts = np.asarray(y0)
    for name, count in zip(model.labels, counts, strict=True):
        if count < 0 or count != round(count):
            raise ModelError(
                f"`{name}` starts at {count:g}, and molecules are counted in whole numbers from 0 on.",
                remedy="give a number of molecules: a concentration times the volume, with rate constants to match",
            )


def _time(value: Any, name: str, model: Model, dtype: Any) -> Any:
    if value is None:
        raise ModelError("simulate needs t1, the end of the interval.", remedy="sd.simulate(network, t1=10.0, ...)")
    try:
        value = as_array(model.constant(value, name), dtype)
    except (TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{name} must be a number or an expression in parameters, not {value!r}.") from None
    if value.ndim or (concrete(value) and not np.isfinite(value)):
        raise ModelError(f"{name} must be one finite time, not {value}.", remedy="times to save at are saveat=")
    return value
