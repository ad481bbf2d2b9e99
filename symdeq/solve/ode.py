"""The seam between generated code and diffrax: a term that also offers Jacobian, df/dt, mass matrix and solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from symdeq._errors import UnsupportedError
from symdeq.codegen import Functions
from symdeq.solvers import AbstractLinearisation, linear_solver, linearise


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
    """The generated Jacobian at one point, by its non-zeros."""

    functions: Functions = eqx.field(static=True)
    nonzeros: tuple[Array, ...]
    dfdt: Array | None
    dtype: Any = eqx.field(static=True)

    @property
    def has_mass(self) -> bool:
        return not all(self.functions.generated.mass)

    def norm(self) -> Array:
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
        if not self.has_mass:
            return v
        return jnp.asarray(self.functions.generated.mass, v.dtype) * v

    def factorise(self, shift: Array) -> Callable[[Any], Any]:
        if self.functions.has_sparse_lu:
            return self.functions.solver_for(self.nonzeros, shift)
        matrix = jnp.diag(shift * jnp.asarray(self.functions.generated.mass, self.dtype))
        if self.nonzeros:
            rows, columns = zip(*self.functions.generated.sparsity, strict=True)
            matrix = matrix.at[jnp.array(rows), jnp.array(columns)].add(-jnp.stack(self.nonzeros))
        return linear_solver(matrix)

    def backward_error(self, shift: Array, x: Any, b: Any) -> Array | None:
        if not self.functions.has_sparse_lu:
            return None
        x, b = tuple(x), tuple(b)
        residual = [shift * xi - bi for xi, bi in zip(x, b, strict=True)]
        size = [jnp.abs(shift * xi) + jnp.abs(bi) for xi, bi in zip(x, b, strict=True)]
        for (i, j), value in zip(self.functions.generated.sparsity, self.nonzeros, strict=True):
            product = value * x[j]
            residual[i], size[i] = residual[i] - product, size[i] + jnp.abs(product)
        worst = jnp.zeros_like(shift)
        for r, s in zip(residual, size, strict=True):
            worst = jnp.maximum(worst, jnp.abs(r) / jnp.where(s == 0, 1, s))
        return jax.lax.stop_gradient(worst)


@linearise.register(GeneratedTerm)
def _(term: Any, t: Any, y: Any, args: Any) -> AbstractLinearisation:
    functions = term.functions
    return GeneratedLinearisation(
        functions=functions, nonzeros=functions.jac(t, y, args), dfdt=functions.dfdt(t, y, args), dtype=y.dtype
    )
