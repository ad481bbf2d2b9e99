"""What an implicit step asks of a differential equation: its Jacobian, its time derivative, its mass matrix, a solve.

`linearise` is the seam: a term class that knows more than its vector field (a sparse Jacobian, generated code for the
solve) registers its own implementation; every other term gets automatic differentiation and a dense LU.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax._term import WrapTerm  # what diffeqsolve hands to a solver; it has no public name
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError, UnsupportedError
from symdeq.solvers.linear import factorise, solve


class AbstractLinearisation(eqx.Module):
    """The equation M y' = f(t, y) linearised at one point, J = df/dy.

    `dfdt` is df/dt there, of the structure of y, or `None` where f does not depend on t. A subclass must give `dfdt`,
    `norm`, `factors` and `solve`; the other methods are those of an ordinary differential equation solved with
    pivoting.
    """

    dfdt: eqx.AbstractVar[PyTree | None]

    @property
    def has_mass(self) -> bool:
        """Whether M is anything but the identity (static). Explicit methods are then ruled out."""
        return False

    @abc.abstractmethod
    def norm(self) -> Array:
        """The infinity norm of J, a scalar: an upper bound of the spectral radius, by which stiffness is judged."""

    def mass(self, v: PyTree) -> PyTree:
        """M v, for v of the structure of y."""
        return v

    @abc.abstractmethod
    def factors(self, shift: Array) -> PyTree:
        """Factors of W = shift M - J: arrays that `solve` takes, now or at a later step."""

    @abc.abstractmethod
    def solve(self, factors: PyTree, b: PyTree) -> PyTree:
        """x with W x = b, both of the structure of y; differentiable in b, in the shift and in J."""

    def factorise(self, shift: Array) -> Callable[[PyTree], PyTree]:
        """Factorise W = shift M - J and return the solve b -> x with W x = b."""
        return functools.partial(self.solve, self.factors(shift))

    def correction(self, shift: Array, x: PyTree, b: PyTree) -> PyTree | None:
        """About the error of a solution of W x = b, or `None` where factors with pivoting make it needless.

        That is |W x - b| over the diagonal of W, what one step of Jacobi's iteration would change, of the structure of
        y. A solver counts it as an error of its step, so a linearisation whose elimination order is fixed in advance
        must give it. It is in the units of x, so a state that has decayed to nothing may be wrong by more than itself.
        """
        return None


class DenseLinearisation(AbstractLinearisation):
    """J and M as dense matrices over the ravelled state, LU with partial pivoting."""

    y: PyTree
    jacobian: Array
    dfdt: PyTree | None
    mass_matrix: Array | None = None

    @property
    def has_mass(self) -> bool:
        return self.mass_matrix is not None

    def norm(self) -> Array:
        return jnp.max(jnp.sum(jnp.abs(self.jacobian), axis=1))

    def mass(self, v: PyTree) -> PyTree:
        if self.mass_matrix is None:
            return v
        flat, restore = ravel_pytree(v)
        return restore(jnp.sum(self.mass_matrix * flat[None, :], axis=1))

    def factors(self, shift: Array) -> PyTree:
        return shift, factorise(lax.stop_gradient(self._matrix(shift)))

    def solve(self, factors: PyTree, b: PyTree) -> PyTree:
        shift, triangles = factors
        flat, restore = ravel_pytree(b)
        return restore(solve(self._matrix(shift), triangles, flat))

    def _matrix(self, shift: Array) -> Array:
        n = self.jacobian.shape[0]
        mass = jnp.eye(n, dtype=self.jacobian.dtype) if self.mass_matrix is None else self.mass_matrix
        return shift * mass - self.jacobian


class MassTerm(dfx.AbstractTerm):
    """The term of M y' = f(t, y, args) with a constant mass matrix, possibly singular.

    A singular M makes a differential-algebraic equation; its index must be 1, and the initial values must satisfy the
    algebraic equations. Only the solvers of this package accept the term: the Rosenbrock methods, the switching solver,
    and `BDF`.

    Arguments:

    - `vector_field`: a function (t, y, args) -> f of the structure of y.
    - `mass_matrix`: M, shape (n, n), over the ravelled state of n numbers.
    """

    vector_field: Callable[..., PyTree]
    mass_matrix: Array

    def __init__(self, vector_field: Callable[..., PyTree], mass_matrix: Any):
        self.vector_field = vector_field
        self.mass_matrix = jnp.asarray(mass_matrix)
        shape = self.mass_matrix.shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ModelError(
                f"The mass matrix has the shape {shape}.", remedy="give a square matrix, one row a number of y"
            )

    def vf(self, t: Any, y: PyTree, args: PyTree) -> PyTree:
        return dfx.ODETerm(self.vector_field).vf(t, y, args)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        raise UnsupportedError(
            "This solver multiplies the vector field by the step and knows no mass matrix.",
            remedy="use symdeq.solvers.Rodas5P, Rosenbrock23 or AutoSwitch with a MassTerm",
        )


@functools.singledispatch
def linearise(term: Any, t: Any, y: PyTree, args: PyTree) -> AbstractLinearisation:
    """Linearise a diffrax term at a point.

    Register an implementation for a term class with `linearise.register(TheTerm)`; the one here differentiates the
    vector field automatically and solves densely.

    Arguments:

    - `term`: a diffrax term of an ordinary differential equation.
    - `t`, `y`, `args`: the point, as for the term's vector field.

    Returns an `AbstractLinearisation`.
    """
    return _dense(term, t, y, args, None)


@linearise.register(MassTerm)
def _(term: Any, t: Any, y: PyTree, args: PyTree) -> AbstractLinearisation:
    return _dense(term, t, y, args, term.mass_matrix)


@linearise.register(WrapTerm)
def _(term: Any, t: Any, y: PyTree, args: PyTree) -> AbstractLinearisation:
    return linearise(term.term, t * term.direction, y, args)


def _dense(term: Any, t: Any, y: PyTree, args: PyTree, mass_matrix: Array | None) -> DenseLinearisation:
    flat, restore = ravel_pytree(y)
    if mass_matrix is not None:
        if mass_matrix.shape[0] != flat.size:
            raise ModelError(
                f"The mass matrix has {mass_matrix.shape[0]} rows, the state {flat.size} numbers.",
                remedy="give one row and one column a number of the state, in the order of its leaves",
            )
        mass_matrix = mass_matrix.astype(flat.dtype)
    jacobian = jax.jacfwd(lambda v: ravel_pytree(term.vf(t, restore(v), args))[0])(flat)
    dfdt = _time_derivative(lambda s: term.vf(s, y, args), t)
    return DenseLinearisation(y=y, jacobian=jacobian, dfdt=dfdt, mass_matrix=mass_matrix)


def _time_derivative(f: Callable[[Any], PyTree], t: Any) -> PyTree | None:
    """df/dt, or `None` if f has no use for t, so that the solver leaves the whole term out."""
    depends = []

    @jax.custom_jvp
    def probe(out):
        return out

    def probe_jvp(primals, tangents):
        zeros = [isinstance(x, jax.custom_derivatives.SymbolicZero) for x in jax.tree.leaves(tangents)]
        depends.append(not all(zeros))
        return primals[0], tangents[0]

    probe.defjvp(probe_jvp, symbolic_zeros=True)
    t = jnp.asarray(t)
    _, dfdt = jax.jvp(lambda s: probe(f(s)), (t,), (jnp.ones_like(t),))
    return dfdt if any(depends) else None
