"""What the solvers of equilibria share: when a residual is small enough, the best iterate so far, and how it ends.

The residual is r(z) = f(z) - z for a fixed point of f and r(z) = f(z) for a root. It is small enough where
norm(r / (atol + rtol |z|)) <= 1, entry by entry; with the norm of the largest entry and rtol = 0 that is max |r| <=
atol.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError, UnsupportedError

# A residual that is this many times the least one is that of an iteration that runs away.
_DIVERGED = 1e4


class Progress(eqx.Module):
    """The best iterate of a solve, and how the last one compares.

    Arguments:

    - `y`, `aux`: the iterate with the least residual, or that whose residual is small enough, and what f returned with
        it.
    - `least`, `last`: the norms of the least residual and of the last one; infinite where f was not finite.
    - `tolerances`: the norm of the last residual in units of the tolerance.
    - `improved`: whether the last iterate is the best.
    - `nfe`: the number of evaluations of f.
    """

    y: PyTree
    aux: PyTree
    least: Array
    last: Array
    tolerances: Array
    improved: Array
    nfe: Array

    def after(self, solver: Any, y: PyTree, residual: PyTree, aux: PyTree) -> "Progress":
        """With one more evaluation of f, at `y`; `solver` has `rtol`, `atol` and `norm`."""

        def scaled(r, v):
            unit = solver.atol + solver.rtol * jnp.abs(v)
            return r / jnp.maximum(unit, jnp.finfo(r.dtype).tiny)

        def size(tree):
            found = jnp.asarray(solver.norm(tree), self.least.dtype)
            return jnp.where(jnp.isfinite(found), found, jnp.inf)

        last, tolerances = size(residual), size(jax.tree.map(scaled, residual, y))
        # Not by the tolerance, whose unit is the larger the further an iteration runs away.
        improved = (last < self.least) | (tolerances <= 1)

        def choose(new, old):
            return jax.tree.map(lambda a, b: jnp.where(improved, a, b), new, old)

        return Progress(
            y=choose(y, self.y),
            aux=choose(aux, self.aux),
            least=jnp.where(improved, last, self.least),
            last=last,
            tolerances=tolerances,
            improved=improved,
            nfe=self.nfe + 1,
        )

    @property
    def converged(self) -> Array:
        """Whether the last residual is small enough."""
        return self.tolerances <= 1

    @property
    def lost(self) -> Array:
        """Whether f was not finite at the last iterate."""
        return jnp.isinf(self.last)

    @property
    def diverged(self) -> Array:
        return self.last > _DIVERGED * self.least

    def verdict(self, gave_up: Any) -> tuple[Array, optx.RESULTS]:
        """Whether to stop, and with which result; `gave_up` says that no way on is left.

        An f that was never finite is `nonfinite`; a solve that gave up where it is, is `nonlinear_divergence`.
        """
        # With no finite residual there is no iterate to go back to.
        never = jnp.isinf(self.least) & (self.nfe > 0)
        failed = optx.RESULTS.where(never, optx.RESULTS.nonfinite, optx.RESULTS.nonlinear_divergence)
        stop = self.converged | never | gave_up
        good = self.converged | ~stop
        return stop, optx.RESULTS.where(good, optx.RESULTS.successful, failed)  # pyright: ignore[reportArgumentType]


def started(y: PyTree, f_struct: PyTree, aux_struct: PyTree) -> Progress:
    """Before the first evaluation. Raises `UnsupportedError` for complex numbers and `ModelError` for an f that returns
    something of another structure or shape than z."""
    _check_structure(y, f_struct)
    infinite = jnp.asarray(jnp.inf, jnp.result_type(*jax.tree.leaves(y)))
    return Progress(
        y=y,
        aux=jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), aux_struct),
        least=infinite,
        last=infinite,
        tolerances=infinite,
        improved=jnp.asarray(False),
        nfe=jnp.zeros((), jnp.int32),
    )


def vector(tree: PyTree) -> Array:
    """All entries of a PyTree, shape (n,)."""
    return ravel_pytree(tree)[0]


def norm2(v: Array) -> Array:
    """The 2-norm of a vector; a sum and not a product, which accelerators may round to half precision."""
    return jnp.sqrt(jnp.sum(v * v))


def check_tolerances(solver: Any) -> None:
    """Raises `ModelError` for tolerances that are negative or both 0."""
    given = {"rtol": solver.rtol, "atol": solver.atol}
    known = {name: value for name, value in given.items() if not isinstance(value, Tracer)}
    for name, value in known.items():
        if not value >= 0:
            raise ModelError(f"{name} of {type(solver).__name__} is {value!r}; a tolerance is a number from 0 on.")
    if len(known) == 2 and not any(known.values()):
        raise ModelError(
            f"rtol and atol of {type(solver).__name__} are both 0, which no residual meets.",
            remedy="give one of them above 0, such as atol=1e-6",
        )


def check_above(solver: Any, name: str, least: float) -> None:
    """Raises `ModelError` where a setting is not a number above `least`."""
    value = getattr(solver, name)
    if not isinstance(value, Tracer) and not value > least:
        raise ModelError(f"{name} of {type(solver).__name__} is {value!r}; it must be above {least:g}.")


def check_count(solver: Any, name: str) -> None:
    """Raises `ModelError` where a setting is not a whole number from 1 on."""
    value = getattr(solver, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{name} of {type(solver).__name__} is {value!r}; it must be a whole number from 1 on.")


def _check_structure(y: PyTree, f_struct: PyTree) -> None:
    leaves = jax.tree.leaves(y)
    if not leaves:
        raise ModelError("There is nothing to solve for: the first guess holds no array.")
    if any(jnp.iscomplexobj(leaf) for leaf in leaves):
        raise UnsupportedError(
            "The solvers of equilibria take real numbers.", remedy="solve for real and imaginary parts as two arrays"
        )

    def shapes(tree):
        return [leaf.shape for leaf in jax.tree.leaves(tree)]

    if jax.tree.structure(y) != jax.tree.structure(f_struct) or shapes(y) != shapes(f_struct):
        raise ModelError(
            f"The function returns arrays of shapes {shapes(f_struct)} for a guess of shapes {shapes(y)}.",
            remedy="return the structure and the shapes of the guess: as many equations as unknowns",
        )
