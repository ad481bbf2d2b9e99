"""RosenbrockMilstein: a linearly implicit method for stochastic equations of Itô whose drift is stiff.

For dy = f(t, y) dt + Σ g_j(t, y) dW_j, a step of length h with increments ΔW, with J = df/dy, f_t = df/dt and all else
at its start, W = I - γ h J and γ = 1 - 1/√2, is

    n    = Σ g_j ΔW_j + ½ Σ (g_j' g_k) (ΔW_j ΔW_k - δ_jk h),
    W k1 = h f(t0, y0) + γ h² f_t + n,
    W k2 = h f(t1, y0 + k1) - γ h² f_t + n - 2 k1,
    y1   = y0 + (3 k1 + k2) / 2.

The drift is that of ROS2, L-stable and of order 2 whatever J is (Verwer, Spee, Blom and Hundsdorfer, SIAM J. Sci.
Comput. 20 (1999) 1456-1480); the noise n that of Milstein (Kloeden and Platen, Numerical Solution of Stochastic
Differential Equations, 1992, section 10.3). Noise in both stages makes y1 = y0 + h J y0 + (1 + h J / 2) n + ..., so
that the local error is of order 3/2 with the mean zero. Strong order 1 for commutative noise, where the sum in n is the
iterated integral; 1/2 for any other, where it is the integral's mean for the given increments. That mean has to be
there even then: without it a method whose steps depend on the path converges to something else (Gaines and Lyons, SIAM
J. Appl. Math. 57 (1997) 1455-1484). `docs/decisions/014-noise.md` says how its steps are chosen.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from symdeq.solvers.linearise import linearise

_GAMMA = 1 - 1 / math.sqrt(2)
# So much of an error counts even in states that are faster than the step, whose errors are soon forgotten.
_SEEN = 0.02


class RosenbrockMilstein(dfx.AbstractItoSolver, dfx.AbstractAdaptiveSolver):
    """For stochastic equations of Itô whose drift is stiff: linearly implicit in the drift, Milstein in the noise.

    Strong order 1 for commutative noise, 1/2 for any other; L-stable. A step is taken in two halves, and what they
    differ by from the whole step is its error, less of it in states that are faster than the step.

    A diffrax solver for `diffrax.MultiTerm(drift, diffusion)`: the drift an `ODETerm` or a class registered with
    `linearise`, the diffusion a `ControlTerm`.
    """

    term_structure: ClassVar = dfx.MultiTerm[tuple[dfx.AbstractTerm, dfx.AbstractTerm]]
    interpolation_cls: ClassVar = dfx.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        return 2

    def strong_order(self, terms: Any) -> int:
        return 1

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> None:
        return None

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> Any:
        drift, diffusion = terms.terms
        return drift.vf(t0, y0, args), diffusion.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        drift, diffusion = terms.terms
        middle = t0 + 0.5 * (t1 - t0)
        starts, stops = jnp.stack([t0, middle, t0]), jnp.stack([middle, t1, t1])
        halves = lax.map(lambda ends: diffusion.contr(*ends), (starts[:2], stops[:2]))
        increments = jax.tree.map(lambda w: jnp.concatenate([w, jnp.sum(w, axis=0, keepdims=True)]), halves)

        def one(last: PyTree, given: Any) -> Any:
            """The first half, the second, and the whole, which starts again: in a loop, so that it compiles once."""
            i, start, stop, dw = given
            y = jax.tree.map(lambda last, y0: jnp.where(i == 2, y0, last), last, y0)
            end, damped, off = _advance(drift, diffusion, start, stop, y, args, dw)
            apart = jax.tree.map(jnp.subtract, last, end)
            parts = (apart, damped(damped(apart)), off)
            return jax.tree.map(lambda last, end: jnp.where(i == 2, last, end), last, end), parts

        y1, (apart, filtered, off) = lax.scan(one, y0, (jnp.arange(3), starts, stops, increments))
        error = jax.tree.map(
            lambda full, part: jnp.maximum(jnp.abs(part[2]), _SEEN * jnp.abs(full[2])), apart, filtered
        )
        if off is not None:
            error = jax.tree.map(lambda e, wrong: jnp.maximum(e, jnp.max(wrong, axis=0)), error, off)
        return y1, error, {"y0": y0, "y1": y1}, None, dfx.RESULTS.successful


def _advance(
    drift: Any, diffusion: Any, start: Any, stop: Any, y: PyTree, args: PyTree, dw: PyTree
) -> tuple[PyTree, Callable[[PyTree], PyTree], PyTree]:
    """One step: its end, the function (I - γ h J)^-1, and about the error of the linear solve, or `None`."""
    h = drift.contr(start, stop)
    local, f = linearise(drift, start, y, args), drift.vf(start, y, args)
    shift = 1 / (_GAMMA * h)
    factors = local.factors(shift)  # of (I - γ h J) / (γ h)

    def damped(v: PyTree) -> PyTree:
        return local.solve(factors, jax.tree.map(lambda v: shift * v, v))

    n, slope = _milstein(diffusion, start, y, args, h, dw), local.dfdt
    b = jax.tree.map(lambda f, n: h * f + n, f, n)
    if slope is not None:
        b = jax.tree.map(lambda b, df: b + _GAMMA * h**2 * df, b, slope)
    k1 = damped(b)
    f = drift.vf(stop, jax.tree.map(jnp.add, y, k1), args)
    c = jax.tree.map(lambda f, n, k: h * f + n - 2 * k, f, n, k1)
    if slope is not None:
        c = jax.tree.map(lambda c, df: c - _GAMMA * h**2 * df, c, slope)
    k2 = damped(c)
    y1 = jax.tree.map(lambda y, a, b: y + (3 * a + b) / 2, y, k1, k2)
    return y1, damped, local.correction(shift, k1, jax.tree.map(lambda b: shift * b, b))


def _milstein(diffusion: Any, t: Any, y: PyTree, args: PyTree, h: Any, dw: PyTree) -> PyTree:
    """The noise n of a step from a point."""
    g = diffusion.vf(t, y, args)

    def along(direction: PyTree, dw: PyTree) -> PyTree:
        """(g ΔW)' times a direction."""
        return jax.jvp(lambda y: diffusion.prod(diffusion.vf(t, y, args), dw), (y,), (direction,))[1]

    flat, restore = ravel_pytree(dw)
    moved = diffusion.prod(g, dw)
    own = jax.vmap(lambda e: along(diffusion.prod(g, restore(e)), restore(e)))(jnp.eye(flat.size, dtype=flat.dtype))
    return jax.tree.map(lambda n, a, b: n + (a - h * jnp.sum(b, axis=0)) / 2, moved, along(moved, dw), own)
