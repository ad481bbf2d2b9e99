"""The dense output of a multistep method: the polynomial through the last points."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

from symdeq.solvers.bdf_table import MAX_ORDER


class BackwardInterpolation(dfx.AbstractLocalInterpolation):
    """y(θ) = y1 + Σ_{j=1}^k C(θ + j - 1, j) ∇^j y1, θ = (t - t1) / (t1 - t0), for a step of order k.

    Arguments:

    - `t0`, `t1`: the ends of the step.
    - `y1`: the solution at t1.
    - `differences`: ∇^j y1 for j = 1 … 5, those beyond the order without meaning; leaves of y with one more axis in
        front.
    - `order`: k, as a floating-point number.
    """

    t0: Any
    t1: Any
    y1: PyTree
    differences: PyTree
    order: Any

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree:
        """The solution at `t0`, or the increment from `t0` to `t1`."""
        if t1 is not None:
            return jax.tree.map(lambda b, a: b - a, self.evaluate(t1), self.evaluate(t0))
        empty = self.t1 == self.t0
        theta = jnp.where(empty, 0, t0 - self.t1) / jnp.where(empty, 1, self.t1 - self.t0)
        m = np.arange(MAX_ORDER)
        weights = jnp.where(m < self.order, jnp.cumprod((theta + m) / (m + 1)), 0)

        def value(y1, v):
            return y1 + jnp.tensordot(weights.astype(v.dtype), v, axes=1, precision=lax.Precision.HIGHEST)

        return jax.tree.map(value, self.y1, self.differences)
