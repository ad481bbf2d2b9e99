"""`steady_state`: where a model comes to rest, what that is sensitive to, and whether it is stable."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array

from symdeq._errors import ModelError, SolveError
from symdeq.compiled import Model
from symdeq.model.symbols import Time
from symdeq.solve import dde, sde
from symdeq.solve.door import checked_start, checked_tolerance, default_tolerances
from symdeq.solve.isolated import is_isolated
from symdeq.solve.ode import GeneratedTerm
from symdeq.solve.rest import Known, Rest, attached
from symdeq.solve.steady_solution import SteadyState
from symdeq.solvers import FirstStep, PseudoTransient, linearise

DEFAULT_MAX_STEPS = 256
_MOST_ODE_STEPS = 4096
# Newton's steps at the end, which cost a dense LU each, and how many tolerances the first may be long.
_POLISHING = 50
_NEAR = 1e3


def steady_state(
    model: Model,
    *,
    y0: Any = None,
    guess: Any = None,
    solver: Any = "auto",
    rtol: Any = None,
    atol: Any = None,
    max_steps: int | None = None,
    linear_solver: Any = None,
    throw: bool = True,
) -> SteadyState:
    """The state in which a compiled model rests: all rates of change are zero.

    The search starts from the initial values, follows the equation as it comes to rest, and turns into Newton's method
    with the analytic Jacobian; totals that the equations conserve stay those of the initial values. Where the equation
    does not come to rest, as around an unstable state, it is searched for a root alone.

    Works under `jax.jit`, `jax.vmap`, `jax.grad` and their `eqx.filter_` forms. The derivative with respect to
    parameters and conserved totals is that of the root, by the implicit function theorem.

    Arguments:

    - `model`: from `compile`; its equations must not depend on t.
    - `y0`: where the search starts, over the initial values of the model: shape (states,), or a dictionary by symbol or
        name. With several steady states it decides which is found.
    - `guess`: where the search starts instead, shape (states,), such as the result for other parameters; conserved
        totals stay those of the initial values.
    - `solver`: `"auto"` (default) is `symdeq.solvers.PseudoTransient()`, and where that finds no rest
        `optimistix.Dogleg`; or any root finder of optimistix, such as `optimistix.Newton(rtol=1e-8, atol=1e-8)`; or any
        diffrax solver, which follows the equation to its rest.
    - `rtol`, `atol`: the distance of the result from the root is at most `atol + rtol * |y|`, by estimate; defaults
        1e-6 and 1e-9, in float32 1e-4 and 1e-7. `atol` may have shape (states,).
    - `max_steps`: the most steps; default 256, of a diffrax solver 4096.
    - `linear_solver`: of lineax, for the derivative; default a dense LU.
    - `throw`: raise an error where no steady state was found (default), or return it with `ok` false. Inside `jax.jit`
        nothing can be raised: look at `ok`.

    Returns a `SteadyState`. Raises `ModelError` for a model that depends on t and for arguments that cannot be right,
    and `SolveError` with the fastest rates for a search that failed.
    Source: C. T. Kelley, D. E. Keyes, SIAM J. Numer. Anal. 35 (1998) 508-523.
    """
    found = settle(
        asked(
            model,
            y0=y0,
            guess=guess,
            solver=solver,
            rtol=rtol,
            atol=atol,
            max_steps=max_steps,
            linear_solver=linear_solver,
        )
    )
    if throw and not found.is_traced and not found.ok:
        raise SolveError(found.failure)
    return found


def asked(
    model: Any,
    *,
    y0: Any = None,
    guess: Any = None,
    solver: Any = "auto",
    rtol: Any = None,
    atol: Any = None,
    max_steps: int | None = None,
    linear_solver: Any = None,
) -> Rest:
    """The arguments of `steady_state`, checked."""
    start = checked_start(model, y0, "steady_state")
    if guess is not None:
        guess = checked_start(model, guess, "steady_state")
    sde.refuse_noise(model, "steady_state")
    dde.refuse_delays(model, "steady_state")
    structure = model.system.structure
    if not structure.autonomous:
        equations = [e for e in model.system.equations if any(isinstance(s, Time) for s in e.rhs.free_symbols)]
        raise ModelError(
            f"`{model.system.name}` depends on t and has no steady state.",
            where=equations[0].located if equations else None,
            remedy="replace t by a parameter, or solve over a long interval",
        )
    finders = (optx.AbstractRootFinder, optx.AbstractLeastSquaresSolver, optx.AbstractMinimiser, dfx.AbstractSolver)
    if solver != "auto" and not isinstance(solver, finders):
        raise ModelError(
            f"{solver!r} finds no steady state of a model.",
            remedy='use "auto", a root finder of optimistix, or a diffrax solver',
        )
    if max_steps is not None and (isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1):
        raise ModelError(f"max_steps must be a whole number from 1 on, not {max_steps!r}.", remedy="default 256")
    usual = default_tolerances(start.dtype)
    return Rest(
        guess=guess,
        # With the start as its own initial values, so that there is one truth about it.
        model=model if y0 is None else dataclasses.replace(model, start=start, given=(True,) * len(model.given)),
        rtol=jnp.asarray(checked_tolerance(usual[0] if rtol is None else rtol, "rtol", (), start.dtype)),
        atol=jnp.asarray(checked_tolerance(usual[1] if atol is None else atol, "atol", (model.size,), start.dtype)),
        solver=solver,
        linear_solver=lx.LU() if linear_solver is None else linear_solver,
        max_steps=max_steps,
    )


@eqx.filter_jit
def settle(rest: Rest) -> SteadyState:
    """The search itself; differentiable, by the implicit function theorem."""
    y, known = _searched(rest)
    y = attached(rest, y, known.isolated)
    rates = jax.lax.stop_gradient(rest.rates(y))
    good = jnp.isfinite(known.error) & (known.error <= 1) & jnp.all(jnp.isfinite(rates))
    return SteadyState(y=y, rates=rates, found=good, rest=rest, known=known)


@eqx.filter_custom_jvp
def _searched(rest: Rest) -> tuple[Array, Known]:
    if rest.solver == "auto":
        y, error, steps, nfe, followed = _settled(rest)
    elif isinstance(rest.solver, dfx.AbstractSolver):
        y, error, steps, nfe = _integrated(rest)
        followed = jnp.asarray(True)
    else:
        y, error, steps, nfe = _found(rest, rest.solver)
        followed = jnp.asarray(False)
    y, error, isolated = _polished(rest, y, error)
    steps, nfe = jnp.asarray(steps), jnp.asarray(nfe)
    return y, Known(error=error, isolated=isolated, followed=followed, num_steps=steps, nfe=nfe)


@_searched.def_jvp
def _(primals: Any, tangents: Any) -> Any:
    found = _searched(*primals)
    return found, jax.tree.map(lambda _: None, found)  # `attached` has the derivative


def _settled(rest: Rest) -> tuple[Any, ...]:
    """By steps that follow the equation; if they come to no rest, any root."""
    term = GeneratedTerm(rest.model.functions)
    found = optx.root_find(
        lambda y, args: term.vf(jnp.zeros((), y.dtype), y, args),
        PseudoTransient(rtol=rest.rtol, atol=rest.atol),
        rest.start,
        rest.model.args,
        options={
            "linearise": lambda y, args: linearise(term, jnp.zeros((), y.dtype), y, args),
            "distance": lambda y, args: _step(rest, y)[1] / _NEAR,  # Newton's method does the rest
            "keep": rest.keep,
        },
        max_steps=rest.max_steps or DEFAULT_MAX_STEPS,
        throw=False,
    )
    error, steps, nfe = found.stats["error"], found.stats["num_steps"], found.stats["nfe"]

    def root() -> tuple[Any, ...]:
        y, worse, more, evaluated = _found(
            rest, optx.Dogleg(rtol=cast(float, rest.rtol), atol=cast(float, jnp.min(rest.atol)))
        )
        good = worse <= 1
        return (
            jnp.where(good, y, found.value),
            jnp.where(good, worse, error),
            steps + more,
            nfe + evaluated,
            ~good,
        )

    return jax.lax.cond(error <= 1, lambda: (found.value, error, steps, nfe, jnp.asarray(True)), root)


def _found(rest: Rest, solver: Any) -> tuple[Any, ...]:
    """By a root finder, of as many equations as unknowns."""
    found = optx.root_find(
        lambda y, rest: rest.residual(y),
        solver,
        rest.start,
        rest,
        max_steps=rest.max_steps or DEFAULT_MAX_STEPS,
        throw=False,
    )
    error = jnp.where(found.result == optx.RESULTS.successful, 1.0, jnp.inf).astype(rest.y0.dtype)
    return found.value, error, found.stats["num_steps"], found.stats.get("nfe", found.stats["num_steps"])


def _integrated(rest: Rest) -> tuple[Any, ...]:
    """By a diffrax solver, until Newton's step from where it is, is about as long as the tolerance."""

    def at_rest(t: Any, y: Any, args: Any, **_: Any) -> Array:
        return _step(rest, y)[1] <= 1

    found = dfx.diffeqsolve(
        GeneratedTerm(rest.model.functions),
        rest.solver,
        0.0,
        jnp.inf,
        None,
        rest.start,
        rest.model.args,
        saveat=dfx.SaveAt(t1=True),
        stepsize_controller=FirstStep(dfx.PIDController(rest.rtol, rest.atol)),
        event=dfx.Event(at_rest),
        max_steps=rest.max_steps or _MOST_ODE_STEPS,
        throw=False,
    )
    assert found.ys is not None
    good = found.result == dfx.RESULTS.event_occurred
    stages = len(getattr(getattr(rest.solver, "tableau", None), "b_sol", ())) or 1
    steps = found.stats["num_steps"]
    return found.ys[0], jnp.where(good, 1.0, jnp.inf).astype(rest.y0.dtype), steps, steps * stages


def _step(rest: Rest, y: Array) -> tuple[Array, Array]:
    """Newton's step, and its length in tolerances."""
    d = jnp.linalg.solve(rest.jacobian(y), -rest.residual(y))
    return d, jnp.max(jnp.abs(d / rest.unit(y)), initial=0.0)


def _polished(rest: Rest, y: Array, error: Array) -> tuple[Array, Array, Array]:
    """The root after Newton's steps with all digits, the length of the last one in tolerances, and whether it is a
    root by itself."""
    if y.size == 0:
        return y, error, jnp.asarray(True)

    def going(carry: Any) -> Array:
        _, length, before, steps = carry
        # At a double root each step halves the distance. Where the search failed, there is nothing to polish.
        return (error <= 1) & ((steps < 1) | ((length > 0.1) & (length < 0.9 * before) & (steps < _POLISHING)))

    def step(carry: Any) -> Any:
        y, before, _, steps = carry
        d, length = _step(rest, y)
        return jnp.where(length <= _NEAR, y + d, y), length, before, steps + 1

    far = jnp.asarray(_NEAR, y.dtype)
    polished, length, _, steps = jax.lax.while_loop(going, step, (y, far, far, jnp.asarray(0)))
    # A Jacobian that is singular, but for rounding, leads far away from a root that was there already.
    near = (steps > 0) & (length <= _NEAR)
    return polished, jnp.where(near, length, error), near & is_isolated(rest, polished)
