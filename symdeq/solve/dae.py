"""Consistent initial values: what the algebraic equations say about the unknowns that have no derivative."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array

from symdeq.codegen import Functions

_MAX_STEPS = 64


def consistent(functions: Functions, t0: Any, y0: Array, p: Any) -> tuple[Array, Array]:
    """Initial values whose algebraic states fulfil the algebraic equations, found by Newton's method from the values
    given.

    Arguments:

    - `functions`: the model's.
    - `t0`, `y0`, `p`: the start: a scalar, shape (n,), shape (parameters,). Differential states keep their values.

    Returns the values, shape (n,), and whether the search succeeded. Differentiable by the implicit function theorem.
    """
    algebraic = jnp.array([i for i, m in enumerate(functions.generated.mass) if not m])

    def residual(z: Array, _: Any) -> Array:
        return functions.rhs(t0, y0.at[algebraic].set(z), p)[algebraic]

    tolerance = float(jnp.finfo(y0.dtype).eps) ** 0.75
    solver = optx.Newton(rtol=tolerance, atol=tolerance)
    found = optx.root_find(residual, solver, y0[algebraic], throw=False, max_steps=_MAX_STEPS)
    size = jnp.max(jnp.abs(jax.lax.stop_gradient(residual(found.value, None))))
    good = (found.result == optx.RESULTS.successful) & jnp.isfinite(size)
    return y0.at[algebraic].set(found.value), good
