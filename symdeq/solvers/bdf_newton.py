"""The nonlinear equation of one implicit step, by a simplified Newton iteration whose Jacobian and factors are kept.

The unknown is d in  F(d) = f(t1, p + d) - M (α d + ψ) / h = 0;  an iteration solves (s M - J) δ = F(d) with the factors
of an earlier step, s about α / h.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.linearise import AbstractLinearisation, linearise

# As in CVODE (Hindmarsh and others, ACM TOMS 31, 2005, section 2.1): a change of the shift by more than this asks for
# new factors, an iteration that grows by more than 2 has diverged, and the rate of convergence is remembered from step
# to step, so that one iteration may do.
_MOST_CHANGE = 0.3
_DIVERGED = 2.0
_REMEMBERED = 0.3
# So many steps a Jacobian is used at most; and one that contracts by less than this is not used in the next step.
_OLDEST = 50
_SLOW = 0.4


class Equation(eqx.Module):
    """M y' = f(t, y, args) and its linearisation as functions of nothing but their arguments and this module's arrays.

    A term may close over traced values; here they are found and made explicit, so that they are differentiated where
    the rule for the derivative says so, and held fixed elsewhere.
    """

    vf: Callable[..., PyTree]
    local: Callable[..., AbstractLinearisation]
    has_mass: bool = eqx.field(static=True)


def equation_of(term: Any, t: Array, y: PyTree, args: PyTree) -> Equation:
    """The equation of a diffrax term; t, y and args serve as an example of what it will be asked with."""

    def local(t, y, args):
        # df/dt has no use here and would be carried along.
        return eqx.tree_at(lambda v: v.dfdt, linearise(term, t, y, args), None, is_leaf=lambda v: v is None)

    return Equation(
        vf=eqx.filter_closure_convert(lambda t, y, args: term.vf(t, y, args), t, y, args),
        local=eqx.filter_closure_convert(local, t, y, args),
        has_mass=eqx.filter_eval_shape(local, t, y, args).has_mass,
    )


class Step(eqx.Module):
    """The equation F(d) = 0 of a step to t1 of length h: p + d is the solution, α and ψ those of the formula."""

    equation: Equation
    args: PyTree
    t1: Array
    h: Array
    p: PyTree
    psi: PyTree
    alpha: Array

    @property
    def shift(self) -> Array:
        """α / h, the factor of M in the derivative of F."""
        return self.alpha / self.h

    def residual(self, d: PyTree) -> PyTree:
        """F(d)."""
        f = self.equation.vf(self.t1, jax.tree.map(jnp.add, self.p, d), self.args)
        left = jax.tree.map(lambda v, q: self.alpha.astype(v.dtype) * v + q, d, self.psi)
        if self.equation.has_mass:
            left = self.equation.local(self.t1, self.p, self.args).mass(left)
        return jax.tree.map(lambda v, q: v - q / self.h.astype(v.dtype), f, left)


class Kept(eqx.Module):
    """What outlives a step: the factors, their shift, the rate at which the iteration converges with them, and the
    steps that they have served."""

    factors: PyTree
    shift: Array
    rate: Array
    age: Array


class Root(NamedTuple):
    """d, what to keep, whether the iteration converged, and what it took: each iteration one vector field and one
    solve, each factorisation one Jacobian."""

    d: PyTree
    kept: Kept
    converged: Array
    iterations: Array
    factorisations: Array


def nothing_kept(equation: Equation, t: Array, y: PyTree, args: PyTree) -> Kept:
    """Before the first step: zeros in the shapes of what will be kept, too old to be used."""
    shift = jnp.ones((), t.dtype)
    shapes = eqx.filter_eval_shape(lambda: equation.local(t, y, args).factors(shift))
    return Kept(factors=_zeros(shapes), shift=shift, rate=jnp.ones_like(shift), age=jnp.asarray(_OLDEST, jnp.int32))


def _zeros(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype) if isinstance(v, jax.ShapeDtypeStruct) else v, shapes)


def root(
    step: Step, kept: Kept, norm: Callable[[PyTree], Array], tolerance: Array, most: int, distrusted: Array
) -> Root:
    """Solve the equation of a step by at most `most` iterations, and as many again with a new Jacobian if need be.

    Arguments:

    - `step`: the equation.
    - `kept`: of the step before.
    - `norm`: of a correction, weighted by the tolerances of the solution.
    - `tolerance`: how small the error of the iteration must be in that norm.
    - `most`: iterations with one Jacobian.
    - `distrusted`: whether to take a new Jacobian although the old one has not failed yet.

    Returns a `Root`. Nothing here is differentiated; see `bdf_derivative.as_root`.
    """
    zero = jnp.zeros((), jnp.int32)
    changed = jnp.abs(kept.shift / step.shift - 1) > _MOST_CHANGE
    stale = distrusted | changed | (kept.age >= _OLDEST) | (kept.rate > _SLOW)
    start = Root(
        d=jax.tree.map(jnp.zeros_like, step.p),
        kept=kept,
        converged=jnp.asarray(False),
        iterations=zero,
        factorisations=zero,
    )

    def attempt(carry):
        renew, before = carry
        kept = _renewed(step, before.kept, renew)
        d, converged, iterations, rate = _iterate(step, kept, norm, tolerance, most)
        return jnp.asarray(True), Root(
            d=d,
            kept=eqx.tree_at(lambda k: k.rate, kept, rate),
            converged=converged,
            iterations=before.iterations + iterations,
            factorisations=before.factorisations + renew,
        )

    def again(carry):
        _, before = carry
        return ~before.converged & (before.factorisations == 0)

    return lax.while_loop(again, attempt, (stale, start))[1]


def solve_about(step: Step, kept: Kept, b: PyTree) -> PyTree:
    """(α/h M - J)⁻¹ b, about, by the factors that were kept."""
    # The value of a solve depends on the factors alone, so any linearisation of the same shape will do.
    shape = _zeros(eqx.filter_eval_shape(step.equation.local, step.t1, step.p, step.args))
    factor = relaxation(step, kept)
    return jax.tree.map(lambda v: factor.astype(v.dtype) * v, shape.solve(kept.factors, b))


def relaxation(step: Step, kept: Kept) -> Array:
    """By this a solve with factors of an old shift errs alike in stiff components, which J rules, and in the others."""
    return 2 * kept.shift / (kept.shift + step.shift)


def _renewed(step: Step, kept: Kept, renew: Array) -> Kept:
    """With factors of a new Jacobian where `renew`."""

    def anew(_):
        made = step.equation.local(step.t1, step.p, step.args).factors(step.shift)
        one = jnp.ones_like(kept.rate)
        return jnp.asarray(False), Kept(factors=made, shift=step.shift, rate=one, age=jnp.zeros_like(kept.age))

    # A loop of one turn or none, because XLA copies what passes by a branch, and leaves in place what passes by a loop.
    return lax.while_loop(lambda carry: carry[0], anew, (renew, kept))[1]


def _iterate(step: Step, kept: Kept, norm: Any, tolerance: Array, most: int) -> tuple:
    """d, whether it converged, the number of iterations, the rate."""
    # An old shift alone makes the iteration converge at this rate.
    rate = jnp.maximum(kept.rate, jnp.abs(1 - relaxation(step, kept)))

    def iteration(carry):
        m, d, before, rate, _, _ = carry
        delta = solve_about(step, kept, step.residual(d))
        d = jax.tree.map(jnp.add, d, delta)
        size = norm(delta).astype(rate.dtype)
        quotient = size / before
        rate = jnp.where(m > 0, jnp.maximum(_REMEMBERED * rate, quotient), rate)
        left = size * jnp.minimum(1, rate / jnp.maximum(1 - rate, jnp.finfo(rate.dtype).tiny))
        converged = left <= tolerance
        failed = ~jnp.isfinite(size) | ((m > 0) & (quotient > _DIVERGED))
        return m + 1, d, size, rate, converged & ~failed, failed

    def going(carry):
        m, _, _, _, converged, failed = carry
        return (m < most) & ~converged & ~failed

    no = jnp.asarray(False)
    start = (jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, step.p), jnp.ones_like(rate), rate, no, no)
    m, d, _, rate, converged, _ = lax.while_loop(going, iteration, start)
    return d, converged, m, rate
