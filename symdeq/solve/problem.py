"""`solve`: from a model and times to a `Solution`, by one call of `diffrax.diffeqsolve`."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from symdeq._errors import SolveError
from symdeq.compiled import Model
from symdeq.solve import dde, poisson, sde
from symdeq.solve.dae import consistent
from symdeq.solve.door import check
from symdeq.solve.gradient import Integration, integrate
from symdeq.solve.ode import GeneratedTerm
from symdeq.solve.request import Request
from symdeq.solve.round_trip import warn_of_backsolve
from symdeq.solve.solution import Lookups, Solution
from symdeq.solve.times import CheckedTimes
from symdeq.solvers import DelayedState, SwitchState

DEFAULT_MAX_STEPS = 4096


def solve(
    model: Model,
    t1: Any = None,
    t0: Any = 0.0,
    saveat: Any = None,
    *,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    solver: Any = "auto",
    adjoint: Any = "auto",
    y0: Any = None,
    max_steps: int = DEFAULT_MAX_STEPS,
    key: Any = None,
    throw: bool = True,
    progress: bool = False,
) -> Solution:
    """Solve a compiled model as an initial value problem.

    Works under `jax.jit`, `jax.vmap`, `jax.grad` and their `eqx.filter_` forms; new values never recompile.

    Arguments:

    - `model`: from `compile`.
    - `t1`: the end, a number, an array, or an expression in parameters; before `t0` to integrate backwards. May be left
        out if `saveat` is an array: its last time.
    - `t0`: the start, likewise; default 0.
    - `saveat`: the times to save at, in order, shape (times,), any spacing; or a number, the spacing; or a
        `diffrax.SaveAt`. Default: the solver's own steps, with the start.
    - `rtol`, `atol`: relative and absolute tolerance of the local error; defaults 1e-6 and 1e-9, in float32 1e-4 and
        1e-7, with noise 1e-2 and 1e-3. `atol` may have shape (states,).
    - `solver`: `"auto"` (default) switches between an explicit and a Rosenbrock method as the steps demand; or any
        diffrax solver.
    - `adjoint`: how gradients are computed: `"auto"` (default: forward mode up to six differentiated values, reverse
        for more), `"forward"`, `"reverse"` (a checkpoint at every step), `"checkpointed"` (few), `"direct"`,
        `"backsolve"`; or any diffrax adjoint.
    - `y0`: initial values over those of the model: shape (states,), or a dictionary by symbol or name.
    - `max_steps`: the most steps, accepted or not, before the solve gives up; default 4096.
    - `key`: a `jax.random.key`, for models with Brownian motions, which need it: equal keys give equal paths on an
        interval, whatever the steps; several paths are `jax.vmap` over keys.
    - `throw`: raise an error if the solve fails (default), or return the failed `Solution`. Inside `jax.jit` nothing
        can be raised: look at `solution.ok`; what was not reached is NaN.
    - `progress`: show a progress bar; default `False`.

    Returns a `Solution`. Raises `ModelError` for arguments that cannot be right, and `SolveError` with time, state and
    remedy for a solve that failed.
    """
    request, reason = check(
        model,
        t0=t0,
        t1=t1,
        saveat=saveat,
        rtol=rtol,
        atol=atol,
        solver=solver,
        adjoint=adjoint,
        y0=y0,
        max_steps=max_steps,
        key=key,
    )
    meter = _meter(progress)
    if request.backsolves:
        warn_of_backsolve(request, lambda asked: _compiled_run(asked, dfx.NoProgressMeter()))
    explained = dataclasses.replace(request.method, reason=reason)
    if request.traced:
        return run(request, meter).replace(method=explained)
    solution = _with_room(request, meter).replace(method=explained)
    if throw and not solution.ok:
        raise SolveError(solution.failure)
    request.warn_of_precision(solution)
    return solution


def _with_room(request: Request, meter: dfx.AbstractProgressMeter) -> Solution:
    """A solve, repeated with more room for the past where it asked for more than was kept."""
    solution = _trimmed(_compiled_run(request, meter))
    while solution.lookups is not None and bool(solution.lookups.lost):
        wider = request.with_more_capacity()
        if wider is None:
            break
        request, solution = wider, _trimmed(_compiled_run(wider, meter))
    return solution


def _meter(progress: bool) -> dfx.AbstractProgressMeter:
    if not progress:
        return dfx.NoProgressMeter()
    try:
        import tqdm  # noqa: F401  # pyright: ignore[reportMissingModuleSource]
    except ImportError:
        return dfx.TextProgressMeter()
    return dfx.TqdmProgressMeter()


def run(request: Request, meter: dfx.AbstractProgressMeter) -> Solution:
    """The solve itself, for a program: of what it was asked for, nothing but values is looked at."""
    model, method = request.model, request.method
    generated = model.generated
    p, y0 = model.args, request.y0
    start_ok, t1 = jnp.asarray(True), request.t1
    if not all(generated.mass):
        y0, start_ok = consistent(model.functions, request.t0, y0, p)
        t1 = jnp.where(start_ok, t1, request.t0)  # without a start there is nothing to integrate
    saveat, times_ok = _saveat(request)
    solver, controller, drawn = request.started_solver, request.controller, None
    if request.room:
        draws = poisson.draw(model, request.t0, t1, y0, request.key, request.room)
        solver, controller = poisson.with_jumps(model, solver, controller, draws)
        drawn, t1 = draws.enough, jnp.where(draws.enough, t1, request.t0)
    integration = Integration(
        term=_term(request),
        solver=solver,
        t0=request.t0,
        t1=t1,
        dt0=request.dt0,
        y0=y0,
        args=p,
        saveat=saveat,
        controller=controller,
        meter=meter,
        max_steps=request.max_steps,
    )
    raw = integrate(integration, request.adjoint)
    ts, ys, t_end, y_end = _unpacked(request, raw)
    if request.plain:
        ts, ys = _as_asked(request, ts, ys)
    stats = {k: v for k, v in raw.stats.items() if k != "max_steps"}
    state = raw.solver_state
    inner = state.inner if isinstance(state, DelayedState) else state
    return Solution(
        ts=ts,
        ys=ys,
        model=model,
        stats=stats,
        t0=request.t0,
        t1=request.t1,
        t_end=t_end,
        y0=y0,
        y_end=y_end,
        rtol=request.rtol,
        atol=request.atol,
        result=raw.result,
        times_ok=times_ok,
        start_ok=start_ok,
        switch=inner.stats if isinstance(inner, SwitchState) else None,
        drawn=drawn,
        lookups=Lookups(state.lost, state.ahead) if isinstance(state, DelayedState) else None,
        raw=raw,
        method=method,
        at_steps=request.at_steps,
        plain=request.plain,
    )


def _term(request: Request) -> Any:
    if request.capacity:
        return dde.term(request.model.functions, request.controller)
    if not request.noisy:
        return GeneratedTerm(request.model.functions)
    return sde.terms(request.model, request.method.solver, request.t0, request.t1, request.key)


_compiled_run = eqx.filter_jit(run)


def _unpacked(request: Request, raw: dfx.Solution) -> tuple[Any, Any, Array, Array]:
    """What was asked for, and the time and state at the end."""
    if request.backsolves:
        assert raw.ts is not None
        assert raw.ys is not None
        return raw.ts, raw.ys, raw.ts[-1], raw.ys[-1]
    assert isinstance(raw.ts, dict)
    assert isinstance(raw.ys, dict)
    return raw.ts["user"], raw.ys["user"], raw.ts["end"][0], raw.ys["end"][0]


def _saveat(request: Request) -> tuple[dfx.SaveAt, Array]:
    """What diffrax saves: what was asked for, and the end, to diagnose failures; and whether the times are in order."""
    ok = jnp.asarray(True)
    sign = jnp.where(request.t1 < request.t0, -1, 1)
    t0, t1 = request.t0 * sign, request.t1 * sign

    def checked(sub: dfx.SubSaveAt) -> dfx.SubSaveAt:
        nonlocal ok
        if sub.ts is None:
            return sub
        ts = jnp.asarray(sub.ts, request.y0.dtype)
        ok = ok & jnp.all(ts[1:] * sign >= ts[:-1] * sign) & jnp.all((ts * sign >= t0) & (ts * sign <= t1))
        return eqx.tree_at(lambda s: s.ts, sub, CheckedTimes(ts))

    is_sub = lambda s: isinstance(s, dfx.SubSaveAt)  # noqa: E731
    user = jax.tree.map(checked, request.saveat.subs, is_leaf=is_sub)
    if request.backsolves:  # which diffrax allows with one plain set of times and nothing else
        return eqx.tree_at(lambda s: s.subs, dfx.SaveAt(t1=True), user), ok
    saveat = dfx.SaveAt(
        subs={"user": user, "end": dfx.SubSaveAt(t1=True)},
        dense=request.saveat.dense,
        solver_state=True,
        controller_state=request.saveat.controller_state,
        made_jump=request.saveat.made_jump,
    )
    return saveat, ok


def _as_asked(request: Request, ts: Array, ys: Array) -> tuple[Array, Array]:
    """The times exactly as they were asked for, and NaN in place of diffrax's infinity where a solve did not get to."""
    reached = jnp.isfinite(ts)
    ys = jnp.where(reached[:, None], ys, jnp.nan)
    if not request.at_steps and request.asked is not None:
        ts = jnp.asarray(request.asked, ts.dtype)
    return ts, ys


def _trimmed(solution: Solution) -> Solution:
    """Without the room for steps that were not taken."""
    if not (solution.at_steps and solution.plain):
        return solution
    count = int(np.isfinite(np.asarray(solution.ts)).sum())
    return solution.replace(ts=solution.ts[:count], ys=solution.ys[:count])
