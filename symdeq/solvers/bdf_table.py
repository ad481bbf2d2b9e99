"""The backward differences that a multistep method keeps, and the numerical differentiation formulas over them.

After n steps of one length h the table holds ∇y_n, ∇²y_n, …. The formula of order k for the next step is

    (1 - κ_k) γ_k (y - p) + Σ_{j=1}^k γ_j ∇^j y_n = h y',    p = Σ_{j=0}^k ∇^j y_n,    γ_j = Σ_{i=1}^j 1/i,

where p is the prediction, and d = y - p is the difference of order k + 1 at the end: Shampine and Reichelt, The MATLAB
ODE Suite, SIAM J. Sci. Comput. 18 (1997) 1-22, equations (3) to (5). A change of h moves the points at which the same
polynomial is held. All of this is linear in the table, by small matrices that depend on the order and on the change.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

MAX_ORDER = 5

_J = np.arange(1, MAX_ORDER + 1)
_KAPPA = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])
_GAMMA = np.concatenate([[0.0], np.cumsum(1 / _J)])
_ALPHA = (1 - _KAPPA) * _GAMMA
# The local error of order k is this times the difference of order k + 1. There is no formula of order MAX_ORDER + 1.
_ERROR = np.append(_KAPPA * _GAMMA + 1 / np.arange(1, MAX_ORDER + 2), 0.0)

# ∇^j y = Σ_i (-1)^i C(j, i) y_{n-i}
_FROM_VALUES = np.array([[(-1) ** i * math.comb(j, i) for i in _J] for j in _J], float)
_UPPER = np.triu(np.ones((MAX_ORDER, MAX_ORDER)))


def _prediction(order: int) -> np.ndarray:
    """Rows that give p - y_n and Σ γ_j ∇^j y_n, shape (2, MAX_ORDER)."""
    used = order >= _J
    return np.stack([np.where(used, 1.0, 0.0), np.where(used, _GAMMA[1:], 0.0)])


def _advance(order: int) -> np.ndarray:
    """Rows that give, from the table and d, the table after a step and the errors of orders k - 1, k and k + 1.

    Shape (MAX_ORDER + 3, MAX_ORDER + 1).
    """
    table, errors = np.zeros((MAX_ORDER, MAX_ORDER + 1)), np.zeros((3, MAX_ORDER + 1))
    for j in _J:
        if j <= order + 1:  # ∇^j y_{n+1} = d + Σ_{m=j}^k ∇^m y_n
            table[j - 1, j - 1 : order] = 1
            table[j - 1, -1] = 1
    errors[:, -1] = _ERROR[order - 1 : order + 2]
    errors[0, order - 1] = _ERROR[order - 1]
    if order < MAX_ORDER:
        errors[2, order] = -_ERROR[order + 1]
    return np.concatenate([table, errors])


_PREDICTION = np.stack([_prediction(max(k, 1)) for k in range(MAX_ORDER + 1)])
_ADVANCE = np.stack([_advance(max(k, 1)) for k in range(MAX_ORDER + 1)])


def leading(order: Array, dtype: Any) -> Array:
    """(1 - κ_k) γ_k, the factor of y / h in the formula of order k."""
    return jnp.asarray(_ALPHA, dtype)[order]


def predicted(table: PyTree, ratio: Array, order: Array) -> tuple[PyTree, PyTree, PyTree]:
    """The differences at points `ratio` times as far apart as before, p - y_n, and the part Σ γ_j ∇^j y_n.

    Differences beyond the order are left alone.
    """
    i, m = _J[:, None], _J[None, :] - 1
    # The polynomial at t_n - i ρ h is Σ_j C(j - 1 - iρ, j) ∇^j y_n.
    values = jnp.cumprod((m - i * ratio) / (m + 1), axis=1)
    used = order >= _J
    # What is zero in exact arithmetic is set to zero.
    change = jnp.where(used[None, :] & used[:, None], (_FROM_VALUES @ values) * _UPPER, np.eye(MAX_ORDER))
    rows = jnp.concatenate([change, jnp.asarray(_PREDICTION)[order].astype(change.dtype) @ change])
    return _split(jax.tree.map(lambda v: _combined(rows, v), table), (MAX_ORDER, 1, 1))


def advanced(table: PyTree, d: PyTree, order: Array) -> tuple[PyTree, PyTree]:
    """The table after a step whose solution is d beyond its prediction, and the local errors of orders k - 1, k, k + 1.

    The errors have one more axis in front, of length 3; that of an order which does not exist means nothing.
    """
    rows = jnp.asarray(_ADVANCE)[order]
    both = jax.tree.map(lambda v, w: _combined(rows, jnp.concatenate([v, w[None]])), table, d)
    return _split(both, (MAX_ORDER, 3))


def first_table(increment: PyTree) -> PyTree:
    """The table at the start, of which only ∇y, about h y', is known."""
    return jax.tree.map(lambda v: jnp.zeros((MAX_ORDER, *v.shape), v.dtype).at[0].set(v), increment)


def _combined(rows: Array, v: Array) -> Array:
    return jnp.tensordot(rows.astype(v.dtype), v, axes=1, precision=lax.Precision.HIGHEST)


def _split(tree: PyTree, sizes: tuple[int, ...]) -> tuple[PyTree, ...]:
    """The rows of every leaf in groups; a group of one row loses its axis."""
    starts = np.cumsum((0, *sizes))

    def group(start, size):
        return jax.tree.map(lambda v: v[start] if size == 1 else v[start : start + size], tree)

    return tuple(group(int(start), size) for start, size in zip(starts, sizes, strict=False))
