"""The seam between generated code and diffrax: a term that also offers Jacobian, df/dt, mass matrix and solve."""

from __future__ import annotations

import functools
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from symdeq._errors import UnsupportedError
from symdeq._report import linear_algebra
from symdeq.codegen import Functions
from symdeq.solvers import AbstractLinearisation, linearise
from symdeq.solvers.elimination import Elimination
from symdeq.solvers.krylov import Krylov, krylov
from symdeq.solvers.ordering import dense, eliminate

# Up to this many unknowns a matrix of a model with algebraic equations is factorised densely, with pivoting.
_PIVOTED_UP_TO = 200


class GeneratedTerm(dfx.AbstractTerm):
    """The term of M y' = f(t, y, p) with generated f: y has shape (n,), and `args` are the parameters, one array."""

    functions: Functions = eqx.field(static=True)

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        return self.functions.rhs(t, y, args)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: Any, control: Any) -> Any:
        if not all(self.functions.generated.mass):
            raise UnsupportedError(
                "This solver multiplies the vector field by the step and knows no algebraic equations.",
                remedy='use solver="auto", sd.Rodas5P() or sd.Rosenbrock23()',
            )
        return control * vf


class GeneratedLinearisation(AbstractLinearisation):
    """The generated Jacobian at one point, by its non-zeros: scalars, or an array of a vectorised model."""

    functions: Functions = eqx.field(static=True)
    nonzeros: Any
    dfdt: Array | None
    dtype: Any = eqx.field(static=True)

    @property
    def has_mass(self) -> bool:
        return not all(self.functions.generated.mass)

    @property
    def _mass(self) -> np.ndarray:
        return np.array(self.functions.generated.mass)

    def norm(self) -> Array:
        if self.functions.generated.vectorised:
            return jnp.max(self.functions.pattern.row_sums(jnp.abs(self.nonzeros)), initial=0.0)
        rows: dict[int, Array] = {}
        for (i, _), value in zip(self.functions.generated.sparsity, self.nonzeros, strict=True):
            rows[i] = rows[i] + jnp.abs(value) if i in rows else jnp.abs(value)
        if not rows:
            return jnp.zeros((), self.dtype)
        largest, *others = rows.values()
        for other in others:
            largest = jnp.maximum(largest, other)
        return largest

    def mass(self, v: Any) -> Any:
        return jnp.asarray(self._mass, v.dtype) * v if self.has_mass else v

    def factors(self, shift: Array) -> Any:
        functions = self.functions
        if functions.has_sparse_lu:
            return shift, functions.factors(self.nonzeros, shift)
        return shift, elimination_of(functions).factorise(*lax.stop_gradient((self._values, shift)), self._mass)

    def solve(self, factors: Any, b: Any) -> Any:
        shift, triangles = factors
        functions = self.functions
        if functions.has_sparse_lu:
            return functions.solve(triangles, self.nonzeros, shift, b)
        elimination, values = elimination_of(functions), self._values
        return lax.custom_linear_solve(
            lambda x: shift * self.mass(x) - functions.pattern.times(values, x),
            b,
            solve=lambda _, r: elimination.solve(triangles, r),
            transpose_solve=lambda _, r: elimination.solve_transposed(triangles, r),
        )

    @property
    def _values(self) -> Array:
        """The non-zeros as an array."""
        if self.functions.generated.vectorised:
            return self.nonzeros
        return jnp.stack(self.nonzeros) if self.nonzeros else jnp.zeros(0, self.dtype)

    def correction(self, shift: Array, x: Any, b: Any) -> Any:
        pattern = self.functions.pattern
        if self.functions.generated.vectorised:
            if not elimination_of(self.functions).rounds:
                return None
            diagonal = shift * jnp.asarray(self._mass, self.dtype)
            residual = diagonal * x - pattern.times(self.nonzeros, x) - b
            own = np.flatnonzero(pattern.rows == pattern.columns)
            diagonal = diagonal.at[pattern.rows[own]].add(-self.nonzeros[own], mode="promise_in_bounds")
            # A constraint need not contain its own unknown; its residual then stands for itself.
            return lax.stop_gradient(jnp.abs(residual / jnp.where(diagonal == 0, 1, diagonal)))
        if not self.functions.has_sparse_lu:
            return None
        parts, right = tuple(x), tuple(b)
        diagonals = [shift] * len(parts)
        residuals = [shift * xi - bi for xi, bi in zip(parts, right, strict=True)]
        for (i, j), value in zip(self.functions.generated.sparsity, self.nonzeros, strict=True):
            residuals[i] = residuals[i] - value * parts[j]
            if i == j:
                diagonals[i] = shift - value
        return lax.stop_gradient(jnp.abs(jnp.stack(residuals) / jnp.stack(diagonals)))


@functools.cache
def elimination_of(functions: Functions) -> Elimination | Krylov:
    """How the matrices of a model are solved with: densely and with pivoting where it has constraints, by sparse
    elimination where that does not fill up, else iteratively."""
    generated = functions.generated
    n, sparsity = len(generated.mass), generated.sparsity
    if not functions.has_jacobian:
        return dense(n, ())
    if generated.vectorised and (all(generated.mass) or n > _PIVOTED_UP_TO):
        return eliminate(n, sparsity) or krylov(n, sparsity) or dense(n, sparsity)
    return dense(n, sparsity)


@linear_algebra.register(Functions)
def _(functions: Any) -> str:
    return "sparse LU" if functions.has_sparse_lu else str(elimination_of(functions))


@linearise.register(GeneratedTerm)
def _(term: Any, t: Any, y: Any, args: Any) -> AbstractLinearisation:
    if not term.functions.has_jacobian:
        return linearise.dispatch(object)(term, t, y, args)
    return generated_linearisation(term.functions, t, y, args)


def generated_linearisation(functions: Functions, t: Any, y: Any, args: Any) -> GeneratedLinearisation:
    """The generated Jacobian and df/dt at a point, of functions that have a Jacobian."""
    return GeneratedLinearisation(
        functions=functions, nonzeros=functions.jac(t, y, args), dfdt=functions.dfdt(t, y, args), dtype=y.dtype
    )
