"""Newton's method whose linear equations GMRES solves as well as they deserve: inexact Newton, without a matrix.

Dembo, Eisenstat and Steihaug, Inexact Newton methods, SIAM J. Numer. Anal. 19 (1982) 400-408; Eisenstat and Walker,
Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17 (1996) 16-32; Kelley, Iterative Methods
for Linear and Nonlinear Equations (1995), chapters 6 and 8. A step d has |f + J d| <= η |f|, with η the smaller the
faster the residual falls.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq.solvers.equilibrium import Progress, check_count, check_tolerances, norm2, started, vector
from symdeq.solvers.gmres import basis_of, combined

# Eisenstat and Walker's choice 2, with their safeguard, as in Kelley's section 6.3.
_GAMMA, _POWER, _MOST = 0.9, 2, 0.9
_SAFEGUARDED = 0.1
# Nothing is gained by a residual far below the tolerance.
_ENOUGH = 0.5
# Armijo's condition, and how much a trial may shorten the step.
_DECREASE = 1e-4
_SHORTEST, _LONGEST = 0.1, 0.5
_HOPELESS = 1e-10


class NewtonKrylovState(eqx.Module):
    """What the iteration carries.

    Arguments:

    - `z`, `size`: the iterate that the last step began from, shape (n,), and |f| there in the 2-norm.
    - `d`: the direction, shape (n,), and `left`: |f + J d| / |f|.
    - `length`: λ, the part of the direction that was taken.
    - `forcing`: η of the last direction.
    - `products`: how many products with the Jacobian were made.
    """

    progress: Progress
    z: Array
    size: Array
    d: Array
    left: Array
    length: Array
    forcing: Array
    products: Array


class NewtonKrylov(optx.AbstractRootFinder):
    """Newton's method with GMRES and products with the Jacobian by `jax.linearize`; where Broyden's method fails.

    An optimistix root finder, `optimistix.root_find(f, NewtonKrylov(), z0)`, and through
    `optimistix.fixed_point(g, NewtonKrylov(), z0)` one of g(z) - z; for any PyTree of real arrays and as many equations
    as unknowns, in the same structure. GMRES is not restarted: where its basis is full, the step is taken as it is, and
    a new Jacobian costs little more than a restart. A shorter trial of the line search is a step of its own, so
    `max_steps` bounds the evaluations.

    Arguments:

    - `rtol`, `atol`: the residual is small enough where norm(f(z) / (atol + rtol |z|)) <= 1; default 0 and 1e-3, so
        that the residual itself decides. `rtol` above 0 is for an f in the units of z, such as g(z) - z.
    - `norm`: of a PyTree; default the largest absolute entry.
    - `krylov`: the vectors of a basis, so many products a step at most; default 30. `krylov` + 1 vectors are held.
    - `line_search`: whether steps after which the residual has not fallen are shortened; default `True`.

    `options={"preconditioner": operator}` of the call takes a `lineax.AbstractLinearOperator` about the inverse of the
    Jacobian, applied from the right.

    In the solution, `stats["nfe"]` is the number of evaluations of f, equal to `num_steps`, and `stats["products"]`
    that of products with its Jacobian, each about as dear. The value is the iterate with the least residual. The result
    is `nonlinear_divergence` where no step lessens the residual or the Jacobian is singular, `nonfinite` where f is not
    finite at the first guess. Raises `ModelError` for settings out of range.
    Source: Eisenstat and Walker, SIAM J. Sci. Comput. 17 (1996) 16-32; Kelley (1995), chapters 6 and 8.
    """

    rtol: float = 0.0
    atol: float = 1e-3
    norm: Callable[[PyTree], Array] = optx.max_norm
    krylov: int = eqx.field(default=30, static=True)
    line_search: bool = eqx.field(default=True, static=True)

    def __check_init__(self):
        check_tolerances(self)
        check_count(self, "krylov")

    def init(
        self, fn: Any, y: PyTree, args: PyTree, options: Any, f_struct: PyTree, aux_struct: PyTree, tags: Any
    ) -> NewtonKrylovState:
        z = vector(y)
        one = jnp.ones((), z.dtype)
        return NewtonKrylovState(
            progress=started(y, f_struct, aux_struct),
            z=z,
            size=one,
            d=jnp.zeros_like(z),
            left=one,
            length=one,
            forcing=_MOST * one,
            products=jnp.zeros((), jnp.int32),
        )

    def step(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: NewtonKrylovState, tags: Any) -> Any:
        residual, tangent, aux = jax.linearize(lambda v: fn(v, args), y, has_aux=True)
        progress = state.progress.after(self, y, residual, aux)
        (z, shape), f = ravel_pytree(y), vector(residual)
        size = norm2(f)
        first = state.progress.nfe == 0
        good = first | (~progress.lost & self._is_enough(size, state))

        forcing = _forcing(size, state, first, progress.tolerances)
        # An infinite goal is met at once: nothing is solved for a trial that failed, nor where the residual will do.
        wanted = good & ~progress.lost & ~progress.converged
        some = jnp.where(wanted & (size > 0), size, 1)
        precondition = _preconditioner(options, shape)
        basis = basis_of(
            lambda v: vector(tangent(shape(precondition(v)))),
            jnp.where(wanted, -f, 0),
            some,
            jnp.where(wanted, forcing * size, jnp.inf),
            min(self.krylov, z.size),
        )
        d = jnp.where(good, precondition(combined(basis)), state.d)

        length = jnp.where(good, 1, _shorter(size, state))
        start = jnp.where(good, z, state.z)
        after = NewtonKrylovState(
            progress=progress,
            z=start,
            size=jnp.where(good, size, state.size),
            d=d,
            left=jnp.where(good, jnp.abs(basis.right[basis.size]) / some, state.left),
            length=length,
            forcing=jnp.where(good, forcing, state.forcing),
            products=state.products + basis.size,
        )
        return shape(start + length * d), after, aux

    def _is_enough(self, size: Array, state: NewtonKrylovState) -> Any:
        """Whether the residual at the end of a step is small enough for it."""
        if not self.line_search:
            return True
        return size <= (1 - _DECREASE * state.length * (1 - state.left)) * state.size

    def terminate(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: NewtonKrylovState, tags: Any) -> Any:
        singular = ~jnp.all(jnp.isfinite(state.d))
        return state.progress.verdict(singular | (state.length < _HOPELESS))

    def postprocess(
        self,
        fn: Any,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: Any,
        state: NewtonKrylovState,
        tags: Any,
        result: Any,
    ) -> Any:
        stats = {"nfe": state.progress.nfe, "products": state.products}
        return state.progress.y, state.progress.aux, stats


def _forcing(size: Array, state: NewtonKrylovState, first: Array, tolerances: Array) -> Array:
    """η, from how far the residual fell, and from how many tolerances it is."""
    fallen = _GAMMA * (size / state.size) ** _POWER
    before = _GAMMA * state.forcing**_POWER
    eta = jnp.where(before > _SAFEGUARDED, jnp.maximum(fallen, before), fallen)
    eta = jnp.where(first, _MOST, eta)
    return jnp.minimum(_MOST, jnp.maximum(eta, _ENOUGH / tolerances))


def _shorter(size: Array, state: NewtonKrylovState) -> Array:
    """λ where the parabola through |f|² at both ends of the step, with its slope at the start, is least.

    The residual that GMRES leaves is orthogonal to J d, so the slope is -2 |J d|² = -2 (|f|² - |f + J d|²).
    """
    growth = (size / state.size) ** 2 - 1
    slope = -2 * (1 - state.left**2)
    best = -0.5 * slope * state.length / (growth / state.length - slope)
    part = jnp.clip(best / state.length, _SHORTEST, _LONGEST)
    return state.length * jnp.where(jnp.isfinite(part), part, _SHORTEST)


def _preconditioner(options: Any, shape: Callable[[Array], PyTree]) -> Callable[[Array], Array]:
    operator = (options or {}).get("preconditioner")
    return (lambda v: v) if operator is None else (lambda v: vector(operator.mv(shape(v))))
