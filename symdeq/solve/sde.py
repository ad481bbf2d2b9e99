"""Stochastic differential equations: the choice of method by the kind of noise, the Brownian path, the terms."""

from __future__ import annotations

import math
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax import lax
from jaxtyping import Array

from symdeq._errors import ModelError, UnsupportedError
from symdeq._values import concrete
from symdeq.codegen import Functions
from symdeq.compiled import Model
from symdeq.solve.method import Method
from symdeq.solve.ode import generated_linearisation
from symdeq.solve.stiffness import Probe, probe
from symdeq.solvers import AbstractLinearisation, Approach, Doubling, RosenbrockMilstein, linearise

# Steps do not become shorter than this part of the interval, to which the Brownian path is resolved.
_RESOLUTION = 2.0**-14
# That of a method for stiff equations, which have short times in them.
_FINE = 2.0**-22
# The first step of an adaptive method, as a part of the interval.
_FIRST = 0.01
DEFAULT_RTOL, DEFAULT_ATOL = 1e-2, 1e-3

# An interval of so many of the drift's fastest times makes the drift stiff.
_MANY_TIMES = 2000.0

_ADDITIVE_ONLY = (dfx.ShARK, dfx.SRA1, dfx.SEA, dfx.ALIGN, dfx.ShOULD, dfx.QUICSORT)
_COMMUTATIVE_ONLY = (dfx.ItoMilstein, dfx.StratonovichMilstein, dfx.SlowRK)


class Drift(eqx.Module):
    """The drift for diffrax: of Itô's calculus, or of Stratonovich's."""

    functions: Functions = eqx.field(static=True)
    correct: int = eqx.field(static=True)  # how often the correction is added: -1, 0 or 1

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        drift = self.functions.rhs(t, y, args)
        if not self.correct:
            return drift
        difference = self.functions.correction(t, y, args)
        return drift if difference is None else drift + self.correct * jnp.stack(list(difference))


@linearise.register(dfx.ODETerm)
def _(term: Any, t: Any, y: Any, args: Any) -> AbstractLinearisation:
    field = term.vector_field
    if not isinstance(field, Drift) or not field.functions.has_jacobian:
        return linearise.dispatch(object)(term, t, y, args)
    # Without the derivative of the correction, on which no order of a stochastic method here depends.
    return generated_linearisation(field.functions, t, y, args)


class Diffusion(eqx.Module):
    """The diffusion for diffrax: a diagonal where every state has its own motion, in order, else a matrix."""

    functions: Functions = eqx.field(static=True)
    places: tuple[tuple[int, int], ...] = eqx.field(static=True)
    motions: int = eqx.field(static=True)

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        values = jnp.stack([jnp.asarray(v, y.dtype) for v in self.functions.diffusion(t, y, args)])
        n = y.shape[0]
        if self.places == tuple((i, i) for i in range(n)) and self.motions == n:
            return lx.DiagonalLinearOperator(values)
        rows, columns = np.array(self.places).T
        return lx.MatrixLinearOperator(jnp.zeros((n, self.motions), y.dtype).at[rows, columns].set(values))


def is_noisy(model: Model) -> bool:
    """Whether a model has Brownian motions."""
    return bool(model.system.noise)


def is_random(model: Model) -> bool:
    """Whether a model needs a key: for Brownian motions, or for Poisson processes."""
    return bool(model.system.noise or model.system.jumps)


def sources(model: Model) -> str:
    """What is random in a model, for messages."""
    return "Brownian motions" if is_noisy(model) else "Poisson processes"


def refuse_noise(model: Model, what: str) -> None:
    """`UnsupportedError` where something does not know noise."""
    if is_random(model):
        raise UnsupportedError(
            f"`{model.system.name}` has {sources(model)}, which {what} does not know.",
            remedy="solve paths by jax.vmap(lambda key: sd.solve(model, ..., key=key))(keys)",
        )


def terms(model: Model, solver: Any, t0: Array, t1: Array, key: Any) -> dfx.MultiTerm:
    """Drift and diffusion along the path that a key stands for."""
    system = model.system
    rows = {state: i for i, state in enumerate(system.states)}
    places = tuple((rows[state], j) for j, noise in enumerate(system.noise) for state, _ in noise.entries)
    wanted = _calculus_of(solver) or system.calculus
    correct = (wanted == "ito") - (system.calculus == "ito")
    t1 = jnp.where(t1 > t0, t1, t0 + 1)  # where nothing is to be solved, there is still no tree of nothing
    levy = dfx.SpaceTimeLevyArea if isinstance(_inner(solver), dfx.AbstractSRK) else dfx.BrownianIncrement
    path = dfx.VirtualBrownianTree(
        t0,
        t1,
        tol=(t1 - t0) * _resolution(solver) / _parts(solver),
        shape=(len(system.noise),),
        key=key,
        levy_area=levy,
    )
    return dfx.MultiTerm(
        dfx.ODETerm(Drift(functions=model.functions, correct=correct)),
        dfx.ControlTerm(Diffusion(functions=model.functions, places=places, motions=len(system.noise)), path),
    )


def _resolution(solver: Any) -> float:
    return _FINE if isinstance(solver, RosenbrockMilstein) else _RESOLUTION


def _parts(solver: Any) -> int:
    """In how many parts a method takes a step: the path is resolved to each."""
    return 2 if isinstance(solver, dfx.HalfSolver | Doubling | RosenbrockMilstein) else 1


def controller(
    model: Model, solver: Any, rtol: Array, atol: Array, t0: Array, t1: Array, ts: Any
) -> dfx.AbstractStepSizeController:
    """Steps by the error, none below the resolution of the path; they end at the times to save at, because between
    its ends a step knows nothing of the path."""
    shortest = (t1 - t0) * _resolution(solver)
    control: Any = dfx.PIDController(rtol=rtol, atol=atol, dtmin=shortest, force_dtmin=True)
    if isinstance(solver, RosenbrockMilstein):
        wanted = jnp.stack([t1]) if ts is None else jnp.append(jnp.asarray(ts, t1.dtype), t1)
        drift = dfx.ODETerm(Drift(functions=model.functions, correct=0))
        return Approach(control, lax.stop_gradient(wanted), shortest, drift)
    return control if ts is None else dfx.ClipStepSizeController(control, step_ts=lax.stop_gradient(jnp.asarray(ts)))


def first_step(t0: Array, t1: Array) -> Array:
    """The first step of an adaptive method."""
    return (t1 - t0) * _FIRST


def choose(model: Model, solver: Any, t0: Any, t1: Any, scale: Any) -> Method:
    """The method for the noise of a model, and for its drift.

    Arguments:

    - `t0`, `t1`: the interval, which may be traced.
    - `scale`: the size below which a state counts as zero, atol / rtol; may be traced.

    Raises `ModelError` for what is no solver, and `UnsupportedError` for one that is wrong for this noise.
    """
    structure, calculus = model.system.structure, model.system.calculus
    assert structure is not None
    kind = structure.noise
    if isinstance(solver, dfx.AbstractSolver):
        _check(model, solver, kind, calculus)
        return Method(solver, "it was asked for", _name(solver))
    if solver != "auto":
        raise ModelError(f"solver={solver!r} is not a solver.", remedy='use "auto", or a diffrax solver')
    order = "0.5" if kind == "general" else "1"
    unknown = model.generated.correction is None and _has_networks(model)
    looked = _look(model, t0, t1, scale)
    if looked is not None and not (unknown and calculus != "ito"):
        rosenbrock = RosenbrockMilstein()
        why = f"the drift is stiff at the start ({looked}); {kind} noise: strong order {order}, steps by the error"
        return Method(rosenbrock, why, _name(rosenbrock))
    if kind == "additive":
        shark = Doubling(dfx.ShARK())
        return Method(shark, "additive noise: strong order 1.5, steps by the error of doubling", _name(shark))
    if calculus == "ito" and unknown:
        milstein = Doubling(dfx.ItoMilstein())
        why = f"{kind} noise by a network, in Itô's calculus: strong order {order}, steps by the error of doubling"
        return Method(milstein, why, _name(milstein))
    drift = ", with the drift of Stratonovich's calculus" if calculus == "ito" else ""
    return Method(dfx.SPaRK(), f"{kind} noise: strong order {order}, steps by the error{drift}", "SPaRK")


def _look(model: Model, t0: Any, t1: Any, scale: Any) -> Probe | None:
    """The time scales of the drift at the start, by the declared values, if they are stiff; else `None`.

    An explicit method takes at most some two of the fastest times a step, and the error of the noise asks for hundreds
    of steps anyway: so the bar is higher than without noise.
    """
    if not concrete(t0, t1):
        return None
    duration = abs(float(t1) - float(t0))
    looked = probe(*model.declared_start(float(t0)), duration, float(np.max(scale)) if concrete(scale) else 0.1)
    long = math.isfinite(duration) and duration > _MANY_TIMES * looked.fastest
    return looked if looked.surely_stiff or (looked.starts_stiff and long) else None


def _check(model: Model, solver: Any, kind: str, calculus: str) -> None:
    inner, name = _inner(solver), model.system.name
    if isinstance(inner, _ADDITIVE_ONLY) and kind != "additive":
        raise UnsupportedError(
            f"{type(inner).__name__} is right for additive noise only; that of `{name}` is {kind}.",
            remedy='use solver="auto"',
        )
    if isinstance(inner, _COMMUTATIVE_ONLY) and kind == "general":
        raise UnsupportedError(
            f"{type(inner).__name__} is right for commutative noise only; that of `{name}` is not, as far as "
            "multiplying out shows.",
            remedy='use solver="auto", or diffrax.EulerHeun()',
        )
    wanted = _calculus_of(solver)
    if wanted is None and kind != "additive":
        raise UnsupportedError(
            f"{type(inner).__name__} solves no equation with noise.", remedy='use solver="auto", or diffrax.SPaRK()'
        )
    if wanted not in (None, calculus) and model.generated.correction is None and _has_networks(model):
        raise UnsupportedError(
            f"{type(inner).__name__} is for the calculus of {wanted!r}, `{name}` for that of {calculus!r}, and the "
            "difference of a network's noise is not known.",
            remedy=f"use a solver for {calculus!r}, or System(..., calculus={wanted!r})",
        )


def _has_networks(model: Model) -> bool:
    return bool(model.system.networks)


def _inner(solver: Any) -> Any:
    return solver.solver if isinstance(solver, dfx.HalfSolver | Doubling) else solver


def _calculus_of(solver: Any) -> str | None:
    inner = _inner(solver)
    if isinstance(inner, dfx.AbstractItoSolver):
        return "ito"
    return "stratonovich" if isinstance(inner, dfx.AbstractStratonovichSolver) else None


def _name(solver: Any) -> str:
    inner = type(_inner(solver)).__name__
    return inner if _inner(solver) is solver else f"{inner} in halved steps"
