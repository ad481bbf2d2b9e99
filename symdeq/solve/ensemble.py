"""`ensemble`: one model with many values, solved on all cores, to one `EnsembleSolution`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike

from symdeq._errors import ModelError, SolveError
from symdeq._values import concrete
from symdeq.compiled import Model
from symdeq.solve import poisson
from symdeq.solve.batch import on_all_cores
from symdeq.solve.door import check
from symdeq.solve.ensemble_solution import EnsembleSolution
from symdeq.solve.family import Family, MemberResult, mapped, most_jumps, solve_member
from symdeq.solve.lanes import in_lanes
from symdeq.solve.members import Members, check_members, initial_values, is_traced
from symdeq.solve.paths import check_paths, numbered
from symdeq.solve.problem import DEFAULT_MAX_STEPS
from symdeq.solve.progress import bar
from symdeq.solve.saveat import check_saveat


def ensemble(
    model: Model,
    values: Mapping[Any, Any] | None = None,
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
    paths: int | None = None,
    throw: bool = True,
    progress: bool = False,
) -> EnsembleSolution:
    """Solve a compiled model many times, each with other values, or along another path of its noise.

    On a CPU the members are solved one by one, on all cores; on an accelerator in lockstep, sorted by cost. Each ends
    as `solve` would end with its values, whatever becomes of the others. Works under `jax.jit`, `jax.vmap`, `jax.grad`
    and their `eqx.filter_` forms, there as one traced loop; new values and another number of members never recompile.

    Arguments:

    - `model`: from `compile`; what does not vary is as in it.
    - `values`: by symbol or name, arrays of shape (members,): parameters and initial values. One that is not finite
        makes its member fail.
    - `t1`, `t0`: the interval, numbers or expressions in parameters, which may vary. `t1` may be left out if `saveat`
        is an array: its last time.
    - `saveat`: the times to save at, the same for all members, shape (times,); or a number, the spacing; or a
        `diffrax.SaveAt` with `ts`, `t0`, `t1`: `diffrax.SaveAt(t1=True)` keeps the end only.
    - `rtol`, `atol`, `solver`, `adjoint`, `max_steps`: as in `solve`, the same for all members.
    - `y0`: initial values over those of the model: shape (members, states), or (states,) for all members, or a
        dictionary of numbers by symbol or name.
    - `key`: a `jax.random.key`, for models with noise or random jumps, which need it: member i gets a path of its own,
        that of `solve` with `jax.random.fold_in(key, i)`, however many members there are.
    - `paths`: the number of members, for models with noise or random jumps: without `values`, so many paths of equal
        values.
    - `throw`: raise an error if a member fails (default), or return what there is: `solution.ok` and
        `solution.failures` say which failed and why. Inside `jax.jit` nothing can be raised.
    - `progress`: show a progress bar over the members; default `False`.

    Returns an `EnsembleSolution`. Raises `ModelError` for arguments that cannot be right, and `SolveError`, with the
    number of members that failed and the reason of the first.
    """
    family, members, reason = _check(
        model,
        values,
        t0=t0,
        t1=t1,
        saveat=saveat,
        y0=y0,
        rtol=rtol,
        atol=atol,
        solver=solver,
        adjoint=adjoint,
        max_steps=max_steps,
        key=key,
        paths=paths,
    )
    request = family.request
    traced = request.traced or is_traced(members)
    rows = members.rows if request.key is None else numbered(members.rows)
    family = family if traced else _with_room(family, rows)
    solution = EnsembleSolution(
        model=request.model,
        members=members,
        results=mapped(family, jnp.asarray(rows)) if traced else _with_past(family, rows, progress),
        times=request.asked,
        rtol=request.rtol,
        atol=request.atol,
        method=dataclasses.replace(request.method, reason=reason),
    )
    if traced:
        return solution
    if throw and not solution.ok.all():
        raise SolveError(solution.failures.summary("throw=False returns all members, with solution.failures"))
    if solution.switch is not None and solution.ys.dtype == np.float32:
        request.warn_of_precision(solution.member(int(np.argmax(solution.switch.implicit_steps))))
    return solution


def _with_room(family: Family, rows: Any) -> Family:
    """With room for the jumps of the member that jumps most."""
    request = family.request
    if not request.room:
        return family
    room = poisson.room_for(float(most_jumps(family, jnp.asarray(rows))), request.max_steps)
    return dataclasses.replace(family, request=dataclasses.replace(request, room=room))


def _with_past(family: Family, rows: np.ndarray, progress: bool) -> MemberResult:
    """All members; those whose past was not kept are solved again with more room for it."""
    results = _solved(family, rows, progress)
    while results.lookups is not None:
        lost = np.asarray(results.lookups.lost)
        wider = family.request.with_more_capacity() if lost.any() else None
        if wider is None:
            break
        family = dataclasses.replace(family, request=wider)
        again = _solved(family, rows[lost], progress)
        results = jax.tree.map(lambda old, new, lost=lost: jnp.asarray(old).at[lost].set(new), results, again)
    return results


def _solved(family: Family, rows: np.ndarray, progress: bool) -> MemberResult:
    platform = next(iter(family.request.t0.devices())).platform
    with bar(len(rows), "ensemble", "member", shown=progress) as advance:
        if platform == "cpu":
            return on_all_cores(solve_member, family, rows, result_bytes=family.result_bytes, advance=advance)
        return in_lanes(family, rows, advance=advance)


def _check(
    model: Any, values: Any, *, t0: Any, t1: Any, saveat: Any, y0: Any, key: Any, paths: Any = None, **options: Any
) -> tuple[Family, Members, str]:
    """The call as a `Family` and its members, and the reason for the method; or `ModelError`."""
    if not isinstance(model, Model):
        raise ModelError(
            f"An ensemble needs a compiled model, not {type(model).__name__}.",
            remedy="model = sd.compile(system); sd.ensemble(model, ...)",
        )
    count = check_paths(model, paths, key)
    y0 = initial_values(model, y0)
    members = check_members(model, values, y0, count)
    _check_saveat(saveat)
    typical = members.typical(model)
    shared_y0 = y0 if isinstance(y0, Mapping) or (y0 is not None and y0.ndim == 1) else None
    ends = {name: value for name, value in (("t0", t0), ("t1", t1)) if typical.constant(value, name) is not value}
    if ends:
        t0, t1 = _some_interval(typical, t0, t1)
    request, reason = check(
        typical,
        t0=t0,
        t1=t1,
        # Where the interval depends on the member, so does whether it holds the times: that is no error of the call.
        saveat=dfx.SaveAt(t1=True) if ends else saveat,
        y0=shared_y0,
        key=key,
        **options,
    )
    if ends:
        request = dataclasses.replace(request, saveat=_ordered(saveat, request.y0.dtype))
    if isinstance(shared_y0, Mapping):
        model = model.replace(shared_y0)
    elif shared_y0 is not None:
        model = dataclasses.replace(model, start=request.y0, given=(True,) * len(model.states))
    request = dataclasses.replace(request, model=model)
    return Family(request=request, columns=members.columns, t0=ends.get("t0"), t1=ends.get("t1")), members, reason


def _some_interval(typical: Model, t0: Any, t1: Any) -> tuple[Any, Any]:
    """An interval to check the rest of the call with: that of one member, if it is one at all."""
    t0, t1 = typical.constant(t0, "t0"), typical.constant(t1, "t1")
    if concrete(t0, t1) and t1 is not None and not (np.isfinite([t0, t1]).all() and t0 != t1):
        return 0.0, 1.0
    return t0, t1


def _check_saveat(saveat: Any) -> None:
    if saveat is None:
        raise ModelError(
            "An ensemble keeps the same times of all members, and the solver's own steps differ between them.",
            remedy="give saveat an array of times, or diffrax.SaveAt(t1=True) for the ends",
        )
    if isinstance(saveat, dfx.SaveAt):
        sub = saveat.subs
        plain = isinstance(sub, dfx.SubSaveAt) and not sub.steps and sub.fn is dfx.SubSaveAt(t1=True).fn
        if not plain or saveat.dense or saveat.solver_state or saveat.controller_state or saveat.made_jump:
            raise ModelError(
                "An ensemble keeps states at times: of diffrax.SaveAt it takes `ts`, `t0` and `t1` only.",
                remedy="look expressions up in the solution; for dense output solve a member by sd.solve",
            )


def _ordered(saveat: Any, dtype: Any) -> dfx.SaveAt:
    """Times that belong to no interval: checked for their order."""
    if not isinstance(saveat, dfx.SaveAt):
        if np.ndim(saveat) == 0:
            raise ModelError(
                "A spacing as saveat needs an interval that is the same for all members.",
                remedy="give the times as an array, or diffrax.SaveAt(t1=True) for the ends",
            )
        return check_saveat(saveat, *_first_and_last(saveat), dtype)[0]
    sub = saveat.subs
    assert isinstance(sub, dfx.SubSaveAt)
    return saveat if sub.ts is None else check_saveat(saveat, *_first_and_last(sub.ts), dtype)[0]


def _first_and_last(ts: Any) -> tuple[Any, Any]:
    """The interval that the times themselves span, so that nothing but their order is checked."""
    if isinstance(ts, Tracer) or (np.ndim(ts) == 1 and len(ts)):
        return ts[0], ts[-1]
    return 0.0, 0.0
