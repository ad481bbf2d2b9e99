"""The generated functions as solvers call them, on a state that is a tuple of scalars or one array.

The right-hand side carries its derivative: a tangent is made from the generated Jacobians, and only for those
arguments that are differentiated. So every solver, adjoint and root finder of JAX uses the analytic Jacobian without
knowing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from symdeq.codegen.load import Generated

# Up to this many states the dense Jacobian is put together entry by entry.
_FEW_STATES = 8


@dataclass(frozen=True)
class Functions:
    """Functions of one model; equal, and of equal hash, if the generated text is equal.

    Everywhere `y` is a tuple of `n` scalars or an array `(n,)`, and results that are vectors have the same layout and
    type; `p` is a tuple of scalars or an array of parameter values. Made by `functions`.
    """

    generated: Generated
    _rhs: Callable[..., Any] = field(compare=False, repr=False)

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        """The right-hand sides in the layout of `y`, with derivatives from the generated Jacobians."""
        t, y, p = _floating(t, y, p)
        return self._rhs(t, y, p)

    def jac(self, t: Any, y: Any, p: Any) -> tuple[Any, ...]:
        """The Jacobian's non-zeros as scalars, in the order of `generated.sparsity`."""
        return self._scalars(self.generated.jac, t, y, p)

    def jac_params(self, t: Any, y: Any, p: Any) -> tuple[Any, ...]:
        """The non-zeros of the derivative by the parameters, in the order of `generated.parameter_sparsity`."""
        return self._scalars(self.generated.jac_params, t, y, p)

    def dfdt(self, t: Any, y: Any, p: Any) -> Any:
        """The partial derivative with respect to time in the layout of `y`; `None` for an autonomous system."""
        if self.generated.dfdt is None:
            return None
        t, y, p = _floating(t, y, p)
        return _like(y, self.generated.dfdt(t, y, p))

    def observed(self, t: Any, y: Any, p: Any) -> tuple[Any, ...]:
        """The observed quantities as scalars, in the order of `generated.observed_names`."""
        return self._scalars(self.generated.observed, t, y, p)

    def _scalars(self, function: Callable[..., tuple], t: Any, y: Any, p: Any) -> tuple[Any, ...]:
        t, y, p = _floating(t, y, p)
        dtype = jnp.result_type(*jax.tree.leaves(y))
        return tuple(jnp.asarray(value, dtype) for value in function(t, y, p))

    def initial(self, p: Any) -> tuple[Any, ...]:
        """Initial values and guesses as scalars; 0 where `generated.initial_kinds` says `"missing"`."""
        p = jax.tree.map(_inexact, p)
        dtype = jnp.result_type(*jax.tree.leaves(p), jnp.float32) if jax.tree.leaves(p) else jnp.result_type(float)
        return tuple(jnp.asarray(value, dtype) for value in self.generated.initial(p))

    def jacobian_dense(self, t: Any, y: Any, p: Any) -> jax.Array:
        """The Jacobian as an array `(n, n)`."""
        return self.dense(self.jac(t, y, p))

    def dense(self, j: Sequence[Any]) -> jax.Array:
        """The array `(n, n)` of the non-zeros `j`."""
        return _dense(j, self.generated.sparsity, (len(self.generated.states), len(self.generated.states)))

    def dense_params(self, j: Sequence[Any]) -> jax.Array:
        """The array `(n, m)` of the non-zeros `j` of the derivative with respect to the parameters."""
        shape = (len(self.generated.states), len(self.generated.parameters))
        return _dense(j, self.generated.parameter_sparsity, shape)

    def matvec(self, j: Sequence[Any], v: Any) -> Any:
        """The Jacobian with non-zeros `j` times `v`, in the layout of `v`."""
        return _like(v, self.generated.matvec(j, v))

    @property
    def has_sparse_lu(self) -> bool:
        """Whether `solver_for` exists; otherwise the caller factorises densely, with pivoting."""
        return self.generated.factorise is not None

    def solver_for(self, j: Sequence[Any], shift: Any) -> Callable[[Any], Any]:
        """Factorise W = shift*I - J once; the result solves W x = b in the layout of `b`.

        Nothing is pivoted: whoever calls checks the solution. The derivative is that of the equation, W dx = db - dW
        x, with the same factors, in forward and in reverse mode; it never goes through the factorisation.
        """
        generated = self.generated
        if generated.factorise is None or generated.solve is None or generated.solve_transposed is None:
            raise ValueError(f"No sparse factorisation was generated for `{generated.name}`.")
        solve, solve_transposed = generated.solve, generated.solve_transposed
        j = tuple(j)
        factors = generated.factorise(*jax.tree.map(lax.stop_gradient, (j, shift)))

        def product(x: Any) -> Any:
            return jax.tree.map(lambda a, b: shift * a - b, x, self.matvec(j, x))

        def solver(b: Any) -> Any:
            return lax.custom_linear_solve(
                product,
                b,
                solve=lambda _, c: _like(c, solve(factors, c)),
                transpose_solve=lambda _, c: _like(c, solve_transposed(factors, c)),
            )

        return solver


@cache
def functions(generated: Generated) -> Functions:
    """The callable form of a generated module; the same object for the same text."""
    rhs = jax.custom_jvp(partial(_rhs_value, generated))
    rhs.defjvp(partial(_rhs_tangent, generated), symbolic_zeros=True)
    return Functions(generated=generated, _rhs=rhs)


def _rhs_value(generated: Generated, t: Any, y: Any, p: Any) -> Any:
    return _like(y, generated.rhs(t, y, p))


def _rhs_tangent(generated: Generated, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    t, y, p = primals
    dt, dy, dp = tangents
    rows: list[list[Any]] = [[] for _ in generated.states]
    if any(known := _moving(dy)):
        _collect(rows, generated.jac(t, y, p), generated.sparsity, dy, known)
    if any(known := _moving(dp)):
        _collect(rows, generated.jac_params(t, y, p), generated.parameter_sparsity, dp, known)
    if generated.dfdt is not None and not isinstance(dt, SymbolicZero):
        for row, value in zip(rows, generated.dfdt(t, y, p), strict=True):
            row.append(value * dt)
    value = functions(generated)._rhs(t, y, p)  # so that derivatives of higher order follow the rule too
    return value, _like(value, tuple(sum(row[1:], row[0]) if row else 0.0 for row in rows))


def _moving(tangent: Any) -> list[bool]:
    """For each scalar of a group whether it is differentiated; an array is, or is not, as a whole."""
    if isinstance(tangent, tuple | list):
        return [not isinstance(part, SymbolicZero) for part in tangent]
    return [not isinstance(tangent, SymbolicZero)] * tangent.shape[0]


def _collect(rows: list[list[Any]], entries: tuple, pattern: tuple, tangent: Any, moving: list[bool]) -> None:
    scalars = [tangent[k] if known else None for k, known in enumerate(moving)]
    for (i, k), entry in zip(pattern, entries, strict=True):
        if moving[k]:
            rows[i].append(entry * scalars[k])


def _like(y: Any, values: Sequence[Any]) -> Any:
    """Scalars in the layout and type of `y`."""
    if isinstance(y, tuple | list):
        return tuple(_shaped(value, like) for value, like in zip(values, y, strict=True))
    return jnp.stack([jnp.asarray(value, y.dtype) for value in values])


def _shaped(value: Any, like: Any) -> Any:
    value = jnp.asarray(value, jnp.result_type(like))
    return value if value.shape == jnp.shape(like) else jnp.broadcast_to(value, jnp.shape(like))


def _inexact(value: Any) -> Any:
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(jnp.result_type(float))


def _floating(t: Any, y: Any, p: Any) -> tuple[Any, Any, Any]:
    """Arguments as floating-point arrays, time in the type of the state."""
    y, p = jax.tree.map(_inexact, y), jax.tree.map(_inexact, p)
    return jnp.asarray(t, jnp.result_type(*jax.tree.leaves(y))), y, p


def _dense(j: Sequence[Any], pattern: tuple[tuple[int, int], ...], shape: tuple[int, int]) -> jax.Array:
    position = {pair: number for number, pair in enumerate(pattern)}
    pairs = [(i, k) for i in range(shape[0]) for k in range(shape[1])]
    values = [jnp.asarray(value) for value in j]
    if not values:
        return jnp.zeros(shape)
    zero = jnp.zeros((), jnp.result_type(*values))
    if shape[0] <= _FEW_STATES and shape[1] <= _FEW_STATES:
        return jnp.stack([values[position[pair]] if pair in position else zero for pair in pairs]).reshape(shape)
    index = np.array([position.get(pair, len(values)) for pair in pairs]).reshape(shape)
    return jnp.stack([*values, zero])[index]
