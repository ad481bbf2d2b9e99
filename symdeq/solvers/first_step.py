"""The size of the first step, for any term of an ordinary differential equation.

diffrax chooses it for a bare `ODETerm` alone, and takes 0.01, whatever the problem, for every other term.
"""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.wrapping import WrappedController


class FirstStep(WrappedController):
    """A step size controller that leaves all to another one but the size of the first step.

    From the sizes of y, f and the change of f over a trial Euler step: Hairer, Nørsett and Wanner, Solving Ordinary
    Differential Equations I, section II.4, page 169. A `dt0` that is given is respected.

    Arguments:

    - `controller`: the other controller, a `diffrax.PIDController`.
    """

    controller: dfx.PIDController

    def __init__(self, controller: dfx.PIDController):
        self.controller = controller

    def init(
        self, terms: PyTree, t0: Any, t1: Any, y0: PyTree, dt0: Any, args: PyTree, func: Any, error_order: Any
    ) -> Any:
        if dt0 is None:
            dt0 = lax.stop_gradient(self._size(terms, jnp.asarray(t0), jnp.asarray(t1), y0, args, func, error_order))
        return super().init(terms, t0, t1, y0, dt0, args, func, error_order)

    def _size(
        self,
        terms: PyTree,
        t0: Array,
        t1: Array,
        y0: PyTree,
        args: PyTree,
        func: Callable[..., PyTree],
        error_order: Any,
    ) -> Array:
        length, dtype = t1 - t0, t0.dtype
        shortest = 16 * jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(t0), jnp.finfo(dtype).tiny / jnp.finfo(dtype).eps)
        scale = jax.tree.map(lambda y: self.atol + jnp.abs(y) * self.rtol, y0)

        def norm(v: PyTree) -> Array:
            return self.norm(jax.tree.map(jnp.divide, v, scale)).astype(dtype)

        f0 = func(terms, t0, y0, args)
        d0, d1 = norm(y0), norm(f0)
        small = (d0 < 1e-5) | (d1 < 1e-5)
        h0 = jnp.minimum(jnp.where(small, 1e-6 * length, 0.01 * d0 / jnp.where(small, 1, d1)), length)
        y1 = jax.tree.map(lambda y, f: y + h0.astype(y.dtype) * f, y0, f0)
        f1 = func(terms, t0 + h0, y1, args)
        d2 = norm(jax.tree.map(jnp.subtract, f1, f0)) / h0
        fastest = jnp.maximum(d1, d2)
        flat = fastest <= 1e-15
        h1 = (0.01 / jnp.where(flat, 1, fastest)) ** (1 / (error_order + 1))
        h1 = jnp.where(flat, jnp.maximum(1e-6 * length, 1e-3 * h0), h1)
        h = jnp.clip(jnp.minimum(100 * h0, h1), shortest, jnp.maximum(length, shortest))
        # Where f is not finite after the trial step, nothing is known but that h0 is too long.
        return jnp.where(jnp.isfinite(h), h, jnp.maximum(jnp.where(jnp.isfinite(h0), 1e-3 * h0, 0), shortest))
