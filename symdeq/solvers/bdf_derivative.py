"""The derivative of an implicit step: that of its equation, and not of the iteration that solved it.

F(d) = 0 gives (α/h M - J) ḋ = the change of F at fixed d, with J at the solution. The factors that solved the equation
are those of a J nearby, so they solve this one too, in a few rounds of iterative refinement, forwards and transposed.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.bdf_newton import Kept, Step, solve_about

# The last correction of each number is at most this part of it, or that part of the largest number.
_CORRECTION, _FLOOR = 1e-8, 1e-14
# New factors cost more than so many rounds of refinement hardly ever.
_ROUNDS = 15


@eqx.filter_custom_jvp
def as_root(step: Step, d: PyTree, kept: Kept, good: Array) -> PyTree:
    """d, differentiated as the root of F that it is.

    Arguments:

    - `step`: the equation.
    - `d`: its root, found by whatever means and held fixed.
    - `kept`: the factors that found it.
    - `good`: whether it is a root. Where it is not the step is rejected, and the derivative is zero: a reverse pass
        would multiply the zero that comes back from a rejected step by infinities.
    """
    return d


@as_root.def_jvp
def _(primals: Any, tangents: Any) -> tuple[PyTree, PyTree]:
    step, found, kept, good = primals
    d = as_root(step, found, kept, good)  # so that derivatives of higher order follow the rule too
    leaves, structure = jax.tree.flatten(step)
    moved = structure.flatten_up_to(tangents[0])
    moving = [i for i, tangent in enumerate(moved) if tangent is not None]

    def residual(*values):
        changed = dict(zip(moving, values, strict=True))
        at = jax.tree.unflatten(structure, [changed.get(i, leaf) for i, leaf in enumerate(leaves)])
        return at.residual(d)

    change = tuple(jnp.where(good, moved[i], jnp.zeros_like(moved[i])) for i in moving)
    _, right = jax.jvp(residual, tuple(leaves[i] for i in moving), change)
    return d, _solve(step, d, kept, right)


def _solve(step: Step, d: PyTree, kept: Kept, right: PyTree) -> PyTree:
    """x with (α/h M - J) x = `right`, J at the solution; differentiable."""
    _, downhill = jax.linearize(step.residual, d)
    solution, fixed = lax.stop_gradient((jax.tree.map(jnp.add, step.p, d), step.shift))

    def about(b):
        return solve_about(step, kept, b)

    def anew(b):
        return step.equation.local(step.t1, solution, step.args).factorise(fixed)(b)

    def transposed(solve, b):
        return jax.linear_transpose(solve, b)(b)[0]

    return lax.custom_linear_solve(
        lambda x: jax.tree.map(jnp.negative, downhill(x)),
        right,
        solve=lambda product, b: _refined(product, about, anew, b),
        transpose_solve=lambda product, b: _refined(
            product, lambda v: transposed(about, v), lambda v: transposed(anew, v), b
        ),
    )


def _refined(
    product: Callable[[PyTree], PyTree],
    about: Callable[[PyTree], PyTree],
    anew: Callable[[PyTree], PyTree],
    b: PyTree,
) -> PyTree:
    """x with product(x) = b from `about`, which solves that approximately, or from `anew` if that takes too long."""

    def going(carry):
        _, left, rounds = carry
        return (left > 1) & (rounds < _ROUNDS)

    def refine(carry):
        x, _, rounds = carry
        change = about(jax.tree.map(jnp.subtract, b, product(x)))
        x = jax.tree.map(jnp.add, x, change)
        return x, _left(x, change), rounds + 1

    first = about(b)
    x, left, _ = lax.while_loop(going, refine, (first, _left(first, first), jnp.zeros((), jnp.int32)))
    # A loop of one turn or none: in a batch, a branch would always be taken.
    failed = ~(left <= 1)
    return lax.while_loop(lambda carry: carry[1], lambda _: (anew(b), jnp.asarray(False)), (x, failed))[0]


def _left(x: PyTree, change: PyTree) -> Array:
    """The largest part of any number that the last change made up, in units of what is allowed."""
    eps = max(float(jnp.finfo(v.dtype).eps) for v in jax.tree.leaves(x))
    least = jnp.finfo(jnp.float32).tiny
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(v), initial=0) for v in jax.tree.leaves(x)]))
    parts = [
        jnp.max(jnp.abs(c) / (max(_CORRECTION, 10 * eps) * jnp.abs(v) + max(_FLOOR, eps) * largest + least), initial=0)
        for v, c in zip(jax.tree.leaves(x), jax.tree.leaves(change), strict=True)
    ]
    return jnp.max(jnp.stack(parts))
