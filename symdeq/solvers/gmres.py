"""GMRES with restarts, for a linear operator that is given as a function.

Saad and Schultz, GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear systems, SIAM J. Sci.
Stat. Comput. 7 (1986) 856-869; with modified Gram-Schmidt and Givens rotations as in Saad, Iterative Methods for Sparse
Linear Systems (2003), algorithm 6.9 and section 6.5.3. A loop ends where the residual is small enough, not after a full
turn, because each of its products costs as much as all else.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import lineax as lx
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq.solvers.equilibrium import check_above, check_count

# A turn that leaves more than this of the residual is the last: rounding errors stop the others too, or none converges.
_LEAST_GAIN = 0.5


class Solved(NamedTuple):
    """The solution as good as it got, its residual as a part of b, the vectors of all bases, each of them a product and
    a preconditioning, and the number of bases."""

    x: Array
    residual: Array
    iterations: Array
    turns: Array


class GMRES(lx.AbstractLinearSolver):
    """GMRES for lineax, `lineax.linear_solve(operator, b, GMRES())`: one product with the operator for each vector of a
    basis, and no more of them than the tolerance asks for.

    `options={"preconditioner": operator}` of the call takes a `lineax.AbstractLinearOperator` about the inverse of the
    matrix. A solve that misses its tolerance returns the solution with the least residual that it found, with the
    result `max_steps_reached`; `stats["num_steps"]` is the number of vectors.

    Arguments:

    - `rtol`: the residual is at most this part of b, both in the 2-norm; default 1e-3.
    - `max_steps`: the most vectors, all held at once; default 10.
    - `strict`: whether a solve that misses its tolerance has failed; default `True`. With `False` its result is
        `successful`, for derivatives: lineax raises for a transposed solve that failed, whatever `throw` says.

    Raises `ModelError` for settings out of range.
    Source: Saad and Schultz, SIAM J. Sci. Stat. Comput. 7 (1986) 856-869.
    """

    rtol: float = 1e-3
    max_steps: int = 10
    strict: bool = True

    def __check_init__(self):
        check_above(self, "rtol", 0)
        check_count(self, "max_steps")

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> lx.AbstractLinearOperator:
        return lx.linearise(operator)

    def compute(self, state: lx.AbstractLinearOperator, vector: PyTree, options: dict[str, Any]) -> Any:
        b, shape = ravel_pytree(vector)
        preconditioner = options.get("preconditioner")

        def flat(operator):
            return lambda v: ravel_pytree(operator.mv(shape(v)))[0]

        found = gmres(
            flat(state),
            (lambda v: v) if preconditioner is None else flat(preconditioner),
            b,
            rtol=self.rtol,
            restart=self.max_steps,
            turns=1,
        )
        good = (found.residual <= self.rtol) | (not self.strict)
        result = lx.RESULTS.where(good, lx.RESULTS.successful, lx.RESULTS.max_steps_reached)
        return shape(found.x), result, {"num_steps": found.iterations, "max_steps": self.max_steps}

    def transpose(self, state: lx.AbstractLinearOperator, options: dict[str, Any]) -> Any:
        return state.transpose(), {name: operator.transpose() for name, operator in options.items()}

    def conj(self, state: lx.AbstractLinearOperator, options: dict[str, Any]) -> Any:
        return lx.conj(state), {name: lx.conj(operator) for name, operator in options.items()}

    def assume_full_rank(self) -> bool:
        return True


class Basis(NamedTuple):
    """An orthonormal basis, the triangle R and the rotations of the QR factors of the Hessenberg matrix, the rotated
    right side, whose last number is the residual, and the number of columns."""

    vectors: Array
    triangle: Array
    cosine: Array
    sine: Array
    right: Array
    size: Array


def gmres(
    product: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    b: Array,
    *,
    rtol: float,
    restart: int,
    turns: int,
) -> Solved:
    """x with product(x) = b, about.

    Arguments:

    - `product`: a linear function of vectors of shape (n,).
    - `precondition`: another one, about its inverse. It is applied first, so that residuals stay those of the equation.
    - `b`: shape (n,).
    - `rtol`: the residual is at most this part of b, both in the 2-norm.
    - `restart`: vectors of a basis; so many vectors of shape (n,) are held.
    - `turns`: how many bases are built at most. One that has not halved the residual is the last.

    Returns a `Solved`, converged or not: its residual tells.
    """
    restart = min(restart, b.shape[0])
    size = _norm(b)
    goal = rtol * size

    def going(carry):
        _, _, residual, before, turn, _ = carry
        return (residual > goal) & (turn < turns) & (residual <= _LEAST_GAIN * before)

    def turn(carry):
        x, r, residual, _, turn, iterations = carry
        basis = basis_of(lambda v: product(precondition(v)), r, residual, goal, restart)
        x = x + precondition(combined(basis))
        r = b - product(x)
        return x, r, _norm(r), residual, turn + 1, iterations + basis.size

    zero = jnp.zeros((), jnp.int32)
    start = (jnp.zeros_like(b), b, size, jnp.full_like(size, jnp.inf), zero, zero)
    x, _, residual, _, done, iterations = lax.while_loop(going, turn, start)
    return Solved(x=x, residual=residual / jnp.where(size > 0, size, 1), iterations=iterations, turns=done)


def basis_of(product: Callable[[Array], Array], r: Array, residual: Array, goal: Array, restart: int) -> Basis:
    """A basis in which the least residual is small enough, or a full one."""

    def going(basis):
        return (basis.size < restart) & (jnp.abs(basis.right[basis.size]) > goal)

    def extend(basis):
        j = basis.size
        vector, column = _orthogonal(basis.vectors, product(basis.vectors[j]), j)
        length = _norm(vector)
        vectors = basis.vectors.at[j + 1].set(vector / jnp.where(length > 0, length, 1))
        column = lax.fori_loop(0, j, lambda i, c: _rotated(c, i, basis.cosine[i], basis.sine[i]), column)
        hypotenuse = jnp.hypot(column[j], length)
        cosine, sine = column[j] / hypotenuse, length / hypotenuse
        return Basis(
            vectors=vectors,
            triangle=basis.triangle.at[:, j].set(column[:-1].at[j].set(hypotenuse)),
            cosine=basis.cosine.at[j].set(cosine),
            sine=basis.sine.at[j].set(sine),
            right=_rotated(basis.right, j, cosine, sine),
            size=j + 1,
        )

    zeros = jnp.zeros(restart, r.dtype)
    start = Basis(
        vectors=jnp.zeros((restart + 1, r.shape[0]), r.dtype).at[0].set(r / residual),
        triangle=jnp.zeros((restart, restart), r.dtype),
        cosine=zeros,
        sine=zeros,
        right=jnp.zeros(restart + 1, r.dtype).at[0].set(residual),
        size=jnp.zeros((), jnp.int32),
    )
    return lax.while_loop(going, extend, start)


def _orthogonal(vectors: Array, vector: Array, j: Array) -> tuple[Array, Array]:
    """What of a vector is orthogonal to the vectors 0 ... j, and its products by them, shape (restart + 1,)."""

    def against(i, carry):
        vector, column = carry
        # A sum and not a product of matrices: no accelerator rounds it to half precision.
        part = jnp.sum(vectors[i] * vector)
        return vector - part * vectors[i], column.at[i].set(part)

    return lax.fori_loop(0, j + 1, against, (vector, jnp.zeros(vectors.shape[0], vector.dtype)))


def _rotated(column: Array, i: Array, cosine: Array, sine: Array) -> Array:
    """A column after the rotation of its numbers i and i + 1."""
    high, low = column[i], column[i + 1]
    return column.at[i].set(cosine * high + sine * low).at[i + 1].set(cosine * low - sine * high)


def combined(basis: Basis) -> Array:
    """The combination of the basis with the least residual."""

    def substitute(i, y):
        k = basis.size - 1 - i
        return y.at[k].set((basis.right[k] - jnp.sum(basis.triangle[k] * y)) / basis.triangle[k, k])

    y = lax.fori_loop(0, basis.size, substitute, jnp.zeros(basis.triangle.shape[0], basis.right.dtype))
    return jnp.sum(y[:, None] * basis.vectors[:-1], axis=0)


def _norm(v: Array) -> Array:
    return jnp.sqrt(jnp.sum(v * v))
