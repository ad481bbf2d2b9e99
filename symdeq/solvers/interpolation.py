"""The dense output that all methods of this package share."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


class StepInterpolation(dfx.AbstractLocalInterpolation):
    """y(θ) = (1 - θ) y0 + θ (y1 + (1 - θ) (k0 + θ (k1 + θ (k2 + …)))), θ = (t - t0) / (t1 - t0).

    Every polynomial through y0 and y1 has this form, one of degree d with d - 1 coefficients, so steps of different
    methods can follow each other under one interpolation. Hairer and Wanner write that of their Rosenbrock code RODAS
    so.

    Arguments:

    - `t0`, `t1`: the ends of the step.
    - `y0`, `y1`: the solution there.
    - `k`: the coefficients, each of the structure of y.
    """

    t0: Any
    t1: Any
    y0: PyTree
    y1: PyTree
    k: tuple[PyTree, ...]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree:
        """The solution at `t0`, or the increment from `t0` to `t1`."""
        if t1 is not None:
            return jax.tree.map(lambda b, a: b - a, self.evaluate(t1), self.evaluate(t0))
        empty = self.t1 == self.t0
        theta = jnp.where(empty, 0, t0 - self.t0) / jnp.where(empty, 1, self.t1 - self.t0)

        def value(y0, y1, *k):
            s = theta.astype(jnp.result_type(y0))
            inner = k[-1]
            for coefficient in reversed(k[:-1]):
                inner = coefficient + s * inner
            return (1 - s) * y0 + s * (y1 + (1 - s) * inner)

        return jax.tree.map(value, self.y0, self.y1, *self.k)
