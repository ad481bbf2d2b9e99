"""RosenbrockMilstein: Milstein's method with a linearly implicit drift, for equations of Itô whose drift is stiff.

For dy = f(t, y) dt + Σ g_j(t, y) dW_j, a step of length h with increments ΔW, J = df/dy and all else at its start,

    (I - h J / 2) (y1 - y0) = h f + h² f_t / 2 + Σ g_j ΔW_j + ½ Σ (g_j' g_k) (ΔW_j ΔW_k - δ_jk h).

The drift is that of the trapezoidal rule, the noise that of Milstein (Kloeden and Platen, Numerical Solution of
Stochastic Differential Equations, 1992, sections 10.3 and 12.2). Strong order 1 for commutative noise, where the sum is
the iterated integral; 1/2 for any other, where it is its mean for the given increments. That mean has to be there even
then: without it a method whose steps depend on the path converges to something else (Gaines and Lyons, SIAM J. Appl.
Math. 57 (1997) 1455-1484).

Why 1/2 and not 1 before J: then the method has the mean and the covariance of every stationary linear equation with
additive noise exactly, whatever the steps. `docs/decisions/014-noise.md` has the derivation.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from symdeq.solvers.linearise import linearise

_GAMMA = 1 - 1 / math.sqrt(2)


class RosenbrockMilstein(dfx.AbstractItoSolver, dfx.AbstractAdaptiveSolver):
    """For stochastic equations of Itô whose drift is stiff: linearly implicit in the drift, Milstein in the noise.

    Strong order 1 for commutative noise, 1/2 for any other; A-stable. A step is taken in two halves, and what they
    differ by from the whole step is its error; one Jacobian, and one factorisation more, serve both.

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
        h = drift.contr(t0, t1)
        first, second = diffusion.contr(t0, middle), diffusion.contr(middle, t1)
        start = _Point(drift, diffusion, t0, y0, args)
        whole, damped, off = start.advance(h, jax.tree.map(jnp.add, first, second))
        half, _, off_first = start.advance(h / 2, first)
        y1, _, off_second = _Point(drift, diffusion, middle, half, args).advance(h / 2, second)
        error = damped(damped(jax.tree.map(jnp.subtract, y1, whole)))
        error = jax.tree.map(jnp.abs, error)
        for wrong in (off, off_first, off_second):
            if wrong is not None:
                error = jax.tree.map(jnp.maximum, error, wrong)
        return y1, error, {"y0": y0, "y1": y1}, None, dfx.RESULTS.successful


class _Point:
    """What the steps from one point have in common: Jacobian, drift and noise there."""

    def __init__(self, drift: Any, diffusion: Any, t: Any, y: PyTree, args: PyTree):
        self.drift, self.t, self.y, self.args = drift, t, y, args
        self.local, self.f = linearise(drift, t, y, args), drift.vf(t, y, args)
        self.noise = _milstein(diffusion, t, y, args)

    def advance(self, h: Any, dw: PyTree) -> tuple[PyTree, Callable[[PyTree], PyTree], PyTree]:
        """One step: its end, the function W^-1, and about the error of the linear solve, or `None`."""
        shift = 1 / (_GAMMA * h)
        factors = self.local.factors(shift)  # of W / (γ h)

        def damped(v: PyTree) -> PyTree:
            return self.local.solve(factors, jax.tree.map(lambda v: shift * v, v))

        n, slope = self.noise(h, dw), self.local.dfdt
        b = jax.tree.map(lambda f, n: h * f + n, self.f, n)
        if slope is not None:
            b = jax.tree.map(lambda b, df: b + _GAMMA * h**2 * df, b, slope)
        k1 = damped(b)
        f = self.drift.vf(self.t + h, jax.tree.map(jnp.add, self.y, k1), self.args)
        c = jax.tree.map(lambda f, n, k: h * f + n - 2 * k, f, n, k1)
        if slope is not None:
            c = jax.tree.map(lambda c, df: c - _GAMMA * h**2 * df, c, slope)
        k2 = damped(c)
        y1 = jax.tree.map(lambda y, a, b: y + (3 * a + b) / 2, self.y, k1, k2)
        return y1, damped, self.local.correction(shift, k1, jax.tree.map(lambda b: shift * b, b))


def _milstein(diffusion: Any, t: Any, y: PyTree, args: PyTree) -> Callable[[Any, PyTree], PyTree]:
    """The noise of a step from a point: a function (h, ΔW) -> Σ g_j ΔW_j + ½ Σ (g_j' g_k) (ΔW_j ΔW_k - δ_jk h)."""
    g = diffusion.vf(t, y, args)

    def along(direction: PyTree, dw: PyTree) -> PyTree:
        """(g ΔW)' times a direction."""
        return jax.jvp(lambda y: diffusion.prod(diffusion.vf(t, y, args), dw), (y,), (direction,))[1]

    def noise(h: Any, dw: PyTree) -> PyTree:
        flat, restore = ravel_pytree(dw)
        moved = diffusion.prod(g, dw)
        own = jax.vmap(lambda e: along(diffusion.prod(g, restore(e)), restore(e)))(jnp.eye(flat.size, dtype=flat.dtype))
        return jax.tree.map(lambda n, a, b: n + (a - h * jnp.sum(b, axis=0)) / 2, moved, along(moved, dw), own)

    return noise
