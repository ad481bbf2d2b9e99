"""Whether a root of as many equations as unknowns is one by itself, or one of a continuum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from symdeq.solve.rest import Rest

# How far a probe goes from the root, in tolerances, and as a part of the value that it changes most: where it leaves
# the equations' domain, or what is straight about them, a nearer one may not.
_TOLERANCES = (1e3, 1.0, 1e-3)
_PART = 1e-3
# How much of the way Newton's step goes back: all of it to a simple root, 1/m to one of multiplicity m.
_BACK = (0.2, 1.5)


def is_isolated(rest: Rest, y: Array) -> Array:
    """Whether the root `y`, shape (n,), has no others beside it, as far as Newton's method can tell.

    Its Jacobian does not tell: at a double root it is singular, and at a point found near a continuum it is not quite.
    So a probe goes along the direction in which it is weakest. From there Newton's step leads back to a root that is
    isolated; along a continuum it has no reason to.
    """
    unit = rest.unit(y)
    j = rest.jacobian(y) * unit
    j = j / jnp.max(jnp.abs(j), axis=1, keepdims=True)
    _, sizes, directions = jnp.linalg.svd(jnp.where(jnp.isfinite(j), j, 0.0))
    regular = jnp.all(jnp.isfinite(j)) & (sizes[-1] > y.size * jnp.finfo(y.dtype).eps * sizes[0])
    weakest = directions[-1]

    def along(length: Array) -> Array:
        """The part of Newton's step along the probe's direction, in tolerances."""
        away = y + length * weakest * unit
        return jnp.dot(jnp.linalg.solve(rest.jacobian(away), -rest.residual(away)) / unit, weakest)

    most = jnp.argmax(jnp.abs(weakest))
    probes = jnp.stack([*jnp.asarray(_TOLERANCES, y.dtype), _PART * jnp.abs(y / unit)[most]])
    lengths = jnp.concatenate([probes, -probes])
    steps = jax.lax.map(along, jnp.concatenate([jnp.zeros(1, y.dtype), lengths]))
    back = (steps[0] - steps[1:]) / lengths
    return regular & jnp.any((back > _BACK[0]) & (back < _BACK[1]))
