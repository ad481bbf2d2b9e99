"""The generated functions as solvers call them, on a state that is a tuple of scalars or one array.

The right-hand side carries its derivative: a tangent is made from the generated Jacobians, and only for those
arguments that are differentiated. So every solver, adjoint and root finder of JAX uses the analytic Jacobian without
knowing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from symdeq.codegen.load import Generated
from symdeq.codegen.pattern import Pattern


@dataclass(frozen=True)
class Functions:
    """Functions of one model; equal, and of equal hash, if the generated text is equal.

    Everywhere `y` is a tuple of `n` scalars or an array `(n,)`, and results that are vectors have the same layout and
    type; `p` is a tuple of scalars or an array of parameter values, or, for a model with networks, the pair of those
    and a tuple of the networks. Made by `functions`.
    """

    generated: Generated
    _rhs: Callable[..., Any] = field(compare=False, repr=False)

    def rhs(self, t: Any, y: Any, p: Any, past: Any = None) -> Any:
        """The right-hand sides in the layout of `y`, with derivatives from the generated Jacobians."""
        t, y, p = _floating(t, y, p)
        return self._rhs(t, y, p) if past is None else self._rhs(t, y, p, past)

    @property
    def has_jacobian(self) -> bool:
        """Whether `jac` exists; otherwise, in models with vectors, derivatives are JAX's."""
        return self.generated.jac is not None

    def jac(self, t: Any, y: Any, p: Any, past: Any = None) -> Any:
        """The Jacobian's non-zeros in the order of `generated.sparsity`: scalars, or an array of a vectorised model."""
        return self._values(self.generated.jac, t, y, p, past)

    def jac_params(self, t: Any, y: Any, p: Any, past: Any = None) -> Any:
        """The non-zeros of the derivative by the parameters in the order of `generated.parameter_sparsity`."""
        return self._values(self.generated.jac_params, t, y, p, past)

    def dfdt(self, t: Any, y: Any, p: Any) -> Any:
        """The partial derivative with respect to time in the layout of `y`; `None` for an autonomous system."""
        if self.generated.dfdt is None:
            return None
        t, y, p = _floating(t, y, p)
        return _like(y, called(self.generated, self.generated.dfdt, t, y, p))

    def observed(self, t: Any, y: Any, p: Any, past: Any = None) -> Any:
        """The observed quantities in the order of `generated.observed_names`."""
        return self._values(self.generated.observed, t, y, p, past)

    def diffusion(self, t: Any, y: Any, p: Any) -> Any:
        """The coefficients of the Brownian motions, as `observed` returns its values."""
        return self._values(self.generated.diffusion, t, y, p)

    def correction(self, t: Any, y: Any, p: Any) -> Any:
        """Itô's drift less Stratonovich's, as `observed` returns its values; `None` where they are equal."""
        if self.generated.correction is None:
            return None
        return self._values(self.generated.correction, t, y, p)

    def rates(self, t: Any, y: Any, p: Any) -> Any:
        """How often the Poisson processes jump, as `observed` returns its values."""
        return self._values(self.generated.rates, t, y, p)

    def jumps(self, t: Any, y: Any, p: Any, marks: Any) -> Any:
        """What jumps with these marks add to states, as `observed` returns its values."""
        return self._values(self.generated.jumps, t, y, p, marks)

    def lags(self, t: Any, y: Any, p: Any) -> tuple[Any, ...]:
        """How far back the delayed values are looked up, one number a lag."""
        return tuple(self._values(self.generated.lags, t, y, p))

    def history(self, t: Any, p: Any) -> Any:
        """The states before the start, shape (n,); 0 where `generated.history_kinds` says `"missing"`."""
        assert self.generated.history is not None
        networks = ()
        if self.generated.networks:
            p, modules = p
            networks = (tuple(map(_of_a_vector, modules)),)
        values = self.generated.history(t, _array(p) if self.generated.vectorised else p, *networks)
        dtype = jnp.result_type(t, jnp.float32)
        return _typed(values, dtype) if self.generated.vectorised else _stacked(values, dtype)

    def past(self, delayed: Sequence[Any]) -> jax.Array:
        """The argument `past`, from the whole state vector at each of the lags."""
        lags, places = np.array(self.generated.delayed).T
        return jnp.stack([jnp.asarray(y) for y in delayed])[lags, places]

    def still(self, y: Any) -> Any:
        """The argument `past` of a solution that has always been `y`; `None` for a model without delays."""
        return y[..., np.array([k for _, k in self.generated.delayed])] if self.generated.delayed else None

    def _values(self, function: Callable[..., Any] | None, t: Any, y: Any, p: Any, past: Any = None) -> Any:
        assert function is not None
        t, y, p = _floating(t, y, p)
        dtype = jnp.result_type(*jax.tree.leaves(y))
        return _typed(called(self.generated, function, t, y, p, past), dtype)

    def initial(self, p: Any) -> Any:
        """Initial values and guesses, shape (n,); 0 where `generated.initial_kinds` says `"missing"`."""
        p = jax.tree.map(_inexact, p)
        dtype = jnp.result_type(*jax.tree.leaves(p), jnp.float32) if jax.tree.leaves(p) else jnp.result_type(float)
        if self.generated.vectorised:
            return _typed(self.generated.initial(_array(p)), dtype)
        return _stacked(self.generated.initial(p), dtype)

    def jacobian_dense(self, t: Any, y: Any, p: Any, past: Any = None) -> jax.Array:
        """The Jacobian as an array `(n, n)`."""
        if not self.has_jacobian:
            return jax.jacfwd(lambda y: self.rhs(t, y, p, past))(jax.tree.map(_inexact, y))
        return self.dense(self.jac(t, y, p, past))

    def dense(self, j: Any) -> jax.Array:
        """The array `(n, n)` of the non-zeros `j`."""
        return self.pattern.dense(j)

    def dense_params(self, j: Any) -> jax.Array:
        """The array `(n, m)` of the non-zeros `j` of the derivative with respect to the parameters."""
        return self.parameter_pattern.dense(j)

    def matvec(self, j: Any, v: Any) -> Any:
        """The Jacobian with non-zeros `j` times `v`, in the layout of `v`."""
        if self.generated.matvec is None:
            return _like(v, self.pattern.times(j, _array(v)))
        return _like(v, self.generated.matvec(j, v))

    @cached_property
    def pattern(self) -> Pattern:
        """Where the Jacobian's non-zeros are."""
        return Pattern(self.generated.sparsity, len(self.generated.states), len(self.generated.states))

    @cached_property
    def parameter_pattern(self) -> Pattern:
        """Where the non-zeros of the derivative by the parameters are."""
        shape = len(self.generated.states), len(self.generated.parameters)
        return Pattern(self.generated.parameter_sparsity, *shape)

    @property
    def has_sparse_lu(self) -> bool:
        """Whether `factors` and `solve` exist; otherwise the caller has to factorise."""
        return self.generated.factorise is not None

    def factors(self, j: Sequence[Any], shift: Any) -> tuple[Any, ...]:
        """Factors of W = shift*I - J. Nothing is pivoted: whoever calls checks the solution."""
        assert self.generated.factorise is not None
        return self.generated.factorise(*jax.tree.map(lax.stop_gradient, (tuple(j), shift)))

    def solve(self, factors: tuple[Any, ...], j: Sequence[Any], shift: Any, b: Any) -> Any:
        """x with W x = b in the layout of `b`.

        The derivative is that of the equation, W dx = db - dW x, with the same factors, in forward and in reverse mode;
        it never goes through the factorisation.
        """
        assert self.generated.solve is not None
        assert self.generated.solve_transposed is not None
        solve, solve_transposed = self.generated.solve, self.generated.solve_transposed
        return lax.custom_linear_solve(
            lambda x: jax.tree.map(lambda a, c: shift * a - c, x, self.matvec(j, x)),
            b,
            solve=lambda _, c: _like(c, solve(factors, c)),
            transpose_solve=lambda _, c: _like(c, solve_transposed(factors, c)),
        )


@cache
def functions(generated: Generated) -> Functions:
    """The callable form of a generated module; the same object for the same text."""
    if generated.networks or generated.jac is None or generated.delayed:
        # A tangent through a whole Jacobian costs an evaluation of the network for each of its inputs, and by delayed
        # values there is none. JAX's own derivative of the text takes one evaluation, and is as exact.
        return Functions(generated=generated, _rhs=partial(_rhs_value, generated))
    rhs = jax.custom_jvp(partial(_rhs_value, generated))
    rhs.defjvp(partial(_rhs_tangent, generated), symbolic_zeros=True)
    return Functions(generated=generated, _rhs=rhs)


def _rhs_value(generated: Generated, t: Any, y: Any, p: Any, past: Any = None) -> Any:
    return _like(y, called(generated, generated.rhs, t, y, p, past))


def _rhs_tangent(generated: Generated, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    value = functions(generated)._rhs(*primals)  # so that derivatives of higher order follow the rule too
    rule = _array_tangent if generated.vectorised else _scalar_tangent
    return value, _like(value, rule(generated, primals, tangents))


def _array_tangent(generated: Generated, primals: tuple, tangents: tuple) -> Any:
    call = functions(generated)
    t, y, p = primals
    total = jnp.zeros(len(generated.states), jnp.result_type(*jax.tree.leaves(y)))
    for tangent, values, pattern in (
        (tangents[1], call.jac, call.pattern),
        (tangents[2], call.jac_params, call.parameter_pattern),
    ):
        if any(known := _moving(tangent)) and len(pattern.rows):
            if isinstance(tangent, tuple | list):
                tangent = [part if moves else 0.0 for part, moves in zip(tangent, known, strict=True)]
            total = total + pattern.times(values(t, y, p), _array(tangent))
    if generated.dfdt is not None and not isinstance(tangents[0], SymbolicZero):
        total = total + called(generated, generated.dfdt, t, y, p) * tangents[0]
    return total


def _scalar_tangent(generated: Generated, primals: tuple, tangents: tuple) -> tuple[Any, ...]:
    t, y, p = primals
    dt, dy, dp = tangents
    rows: list[list[Any]] = [[] for _ in generated.states]
    assert generated.jac is not None
    assert generated.jac_params is not None
    if any(known := _moving(dy)):
        _collect(rows, generated.jac(t, y, p), generated.sparsity, dy, known)
    if any(known := _moving(dp)):
        _collect(rows, generated.jac_params(t, y, p), generated.parameter_sparsity, dp, known)
    if generated.dfdt is not None and not isinstance(dt, SymbolicZero):
        for row, value in zip(rows, generated.dfdt(t, y, p), strict=True):
            row.append(value * dt)
    return tuple(sum(row[1:], row[0]) if row else 0.0 for row in rows)


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


def called(generated: Generated, function: Callable[..., Any], t: Any, y: Any, p: Any, past: Any = None) -> Any:
    """What a generated function gives; a vectorised one takes arrays, one with networks or delays takes those too."""
    rest = ()
    if generated.networks:
        p, modules = p
        rest = (tuple(map(_of_a_vector, modules)),)
    if past is not None:
        rest = (*rest, past)
    if generated.vectorised:
        return function(t, _array(y), _array(p), *rest)
    return function(t, y, p, *rest)


def _of_a_vector(network: Any) -> Callable[[Any], Any]:
    """A network as a function of an array of one dimension."""
    return (lambda x: network(x[0])) if getattr(network, "in_size", None) == "scalar" else network


def _array(values: Any) -> jax.Array:
    """A group as an array."""
    if isinstance(values, tuple | list):
        return jnp.stack([jnp.asarray(v) for v in values]) if len(values) else jnp.zeros(0)
    return values


def _typed(values: Any, dtype: Any) -> Any:
    """An array, or each of some scalars, in a type."""
    if isinstance(values, tuple):
        return tuple(jnp.asarray(value, dtype) for value in values)
    return jnp.asarray(values, dtype)


def _stacked(values: Sequence[Any], dtype: Any) -> jax.Array:
    return jnp.stack([jnp.asarray(value, dtype) for value in values])


def _like(y: Any, values: Any) -> Any:
    """Scalars, or an array of them, in the layout and type of `y`."""
    if isinstance(y, tuple | list):
        return tuple(_shaped(value, like) for value, like in zip(tuple(values), y, strict=True))
    return _stacked(values, y.dtype) if isinstance(values, tuple) else values.astype(y.dtype)


def _shaped(value: Any, like: Any) -> Any:
    value = jnp.asarray(value, jnp.result_type(like))
    return value if value.shape == jnp.shape(like) else jnp.broadcast_to(value, jnp.shape(like))


def _inexact(value: Any) -> Any:
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(jnp.result_type(float))


def _floating(t: Any, y: Any, p: Any) -> tuple[Any, Any, Any]:
    """Arguments as floating-point arrays, time in the type of the state; networks as they are."""
    y = jax.tree.map(_inexact, y)
    if isinstance(p, tuple) and len(p) == 2 and isinstance(p[1], tuple):
        p = jax.tree.map(_inexact, p[0]), p[1]
    else:
        p = jax.tree.map(_inexact, p)
    return jnp.asarray(t, jnp.result_type(*jax.tree.leaves(y))), y, p
