"""The trace of a network's Jacobian beside its value: the equation that carries a density along a flow.

Where points follow u' = f(u, t), the logarithm of their density follows -tr(df/du): R. T. Q. Chen, Y. Rubanova,
J. Bettencourt, D. Duvenaud, Neural ordinary differential equations, NeurIPS 2018, theorem 1. For a random v with
E[v vᵀ] = I the trace is the expectation of vᵀ (df/du) v (M. F. Hutchinson, 1990), for which one product with the
Jacobian is enough: W. Grathwohl et al., FFJORD, ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


class ExactTrace(eqx.Module):
    """(u, log-density) and perhaps time to (f(u), -tr(df/du)), by as many products with the Jacobian as u has entries.

    Arguments:

    - `network`: from u, shape (n,), and time if it takes it, to shape (n,).
    - `size`: n.
    """

    network: Any
    size: int = eqx.field(static=True)

    def __call__(self, state: Array) -> Array:
        value, slope = jax.linearize(*_field(self.network, self.size, state))
        rows = jax.vmap(slope)(jnp.eye(self.size, dtype=state.dtype))
        return jnp.append(value, -jnp.trace(rows))


class HutchinsonTrace(eqx.Module):
    """The same with one product with the Jacobian, right on average over `probe`.

    Arguments:

    - `network`, `size`: as of `ExactTrace`.
    - `probe`: entries 1 and -1, shape (n,); the same all along a solve. It is never trained.
    """

    network: Any
    size: int = eqx.field(static=True)
    probe: Array

    def __call__(self, state: Array) -> Array:
        field, u = _field(self.network, self.size, state)
        probe = lax.stop_gradient(self.probe).astype(u.dtype)
        value, product = jax.jvp(field, (u,), (probe,))
        return jnp.append(value, -jnp.sum(probe * product))


def _field(network: Any, size: int, state: Array) -> tuple[Any, Array]:
    """The network as a function of u, and u; what stands behind the log-density is time."""
    u, rest = state[:size], state[size + 1 :]
    return (lambda u: network(jnp.concatenate([u, rest]))), u
