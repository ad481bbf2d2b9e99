"""A steady state as a root: independent equations, the conservation laws among them, and the root's derivative."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array

from symdeq._lookup import Compiled
from symdeq.compiled import Model


class Rest(eqx.Module):
    """A checked search for a steady state: f(y) = 0 of M y' = f(y), on the surface C y = C y0 where conservation laws
    keep the equation.

    The rows of f are then dependent, C f = 0, and each law takes the place of one of them.
    """

    model: Model
    guess: Array | None
    rtol: Array
    atol: Array
    solver: Any = eqx.field(static=True)
    linear_solver: Any = eqx.field(static=True)
    max_steps: int | None = eqx.field(static=True)

    @property
    def y0(self) -> Array:
        """The initial values, whose conserved totals hold, shape (n,)."""
        return self.model.initial_state()

    @property
    def start(self) -> Array:
        """Where the search starts, shape (n,): the initial values, or the point nearest to the guess that has their
        totals."""
        if self.guess is None:
            return self.y0
        return self.y0 + self.keep(self.guess - self.y0, self.unit(self.guess))

    def rates(self, y: Array) -> Array:
        """f(y), shape (n,)."""
        return self.model.functions.rhs(jnp.zeros((), y.dtype), y, self.model.args)

    def residual(self, y: Array) -> Array:
        """As many independent equations as there are unknowns, shape (n,)."""
        rows, laws = conserved(self.model.compiled)
        f = self.rates(y)
        return f.at[np.array(rows)].set(jnp.asarray(laws, y.dtype) @ (y - self.y0)) if rows else f

    def jacobian(self, y: Array) -> Array:
        """The Jacobian of `residual`, shape (n, n): the generated one, and the laws."""
        rows, laws = conserved(self.model.compiled)
        j = self.model.functions.jacobian_dense(jnp.zeros((), y.dtype), y, self.model.args)
        return j.at[np.array(rows)].set(jnp.asarray(laws, y.dtype)) if rows else j

    def keep(self, d: Array, unit: Array) -> Array:
        """The part of a step that changes no conserved total: the nearest, in units, shape (n,)."""
        rows, laws = conserved(self.model.compiled)
        if not rows:
            return d
        matrix = jnp.asarray(laws, d.dtype)
        weighted = matrix * unit**2
        return d - jnp.linalg.solve(weighted @ matrix.T, matrix @ d) @ weighted

    def unit(self, y: Array) -> Array:
        """The tolerance, shape (n,)."""
        return self.atol + self.rtol * jnp.abs(y)


@lru_cache(maxsize=256)
def conserved(compiled: Compiled) -> tuple[tuple[int, ...], np.ndarray]:
    """Conservation laws, shape (laws, n), scaled to a largest coefficient of 1, and for each the place of an equation
    that follows from the others by it."""
    structure = compiled.system.structure
    assert structure is not None
    laws = [[Fraction(int(c.p), int(c.q)) for c in law.coefficients] for law in structure.invariants]
    rows: list[int] = []
    left = [list(law) for law in laws]
    for k, law in enumerate(left):  # Gauss and Jordan, exactly: the places of the pivots are what is wanted
        place = max(range(len(law)), key=lambda j: abs(law[j]))
        rows.append(place)
        for other in left[k + 1 :]:
            part = other[place] / law[place]
            other[:] = [a - part * b for a, b in zip(other, law, strict=True)]
    n = len(structure.mass)
    matrix = np.array([[float(c) for c in law] for law in laws]).reshape(len(laws), n)
    return tuple(rows), matrix / np.max(np.abs(matrix), axis=1, keepdims=True, initial=1.0)


class Known(eqx.Module):
    """What a search tells of a root.

    - `error`: the estimated distance from the root, in tolerances.
    - `isolated`: whether it is a root by itself, and not one of a continuum.
    - `followed`: whether it was reached by following the equation.
    - `num_steps`, `nfe`: the steps and the evaluations of the right-hand sides.
    """

    error: Array
    isolated: Array
    followed: Array
    num_steps: Array
    nfe: Array


@eqx.filter_custom_jvp
def attached(rest: Rest, y: Array, isolated: Array) -> Array:
    """`y` itself, with the derivative of the root that it is, by the implicit function theorem; a root that is one of a
    continuum has none, and its derivative is NaN."""
    return y


@attached.def_jvp
def _(primals: Any, tangents: Any) -> Any:
    (rest, y, isolated), (moved, *_) = primals, tangents
    y = attached(rest, y, isolated)
    fixed = jax.tree.map(lambda leaf: leaf is None, moved, is_leaf=lambda leaf: leaf is None)
    still, moving = eqx.partition(rest, fixed, is_leaf=lambda leaf: leaf is None)
    _, change = jax.jvp(lambda part: eqx.combine(part, still).residual(y), (moving,), (moved,))
    # NaN by a factor of what moves, and a matrix that can be solved with: so both pass through the transpose.
    change = change * jnp.where(isolated, 1.0, jnp.nan).astype(y.dtype)
    operator = lx.MatrixLinearOperator(jnp.where(isolated, rest.jacobian(y), jnp.eye(y.size, dtype=y.dtype)))
    return y, -lx.linear_solve(operator, change, rest.linear_solver, throw=False).value
