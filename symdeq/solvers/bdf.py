"""A variable-order multistep method for large stiff systems: numerical differentiation formulas of order 1 to 5.

One nonlinear equation a step, solved with a Jacobian and factors that serve many steps: Shampine and Reichelt, The
MATLAB ODE Suite, SIAM J. Sci. Comput. 18 (1997) 1-22. A step is of the length that diffrax asks for; the differences
are moved to it first.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax import lax
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError
from symdeq.solvers import bdf_table as tables
from symdeq.solvers.bdf_control import ERROR_ORDER, STRICT, Errors, decide
from symdeq.solvers.bdf_derivative import as_root
from symdeq.solvers.bdf_interpolation import BackwardInterpolation
from symdeq.solvers.bdf_newton import Equation, Kept, Step, equation_of, nothing_kept, root
from symdeq.solvers.step import first_field, unwrap

# At the start of a differential-algebraic equation y' comes from a linearly implicit step this much shorter.
_SHORTER = 1e3
# A step this much shorter than the one before was tried at greater length and rejected.
_RETRIED = 0.95
# A change of the length by less than this is one of rounding.
_CHANGED = 0.01
_FAILED: Any = dfx.RESULTS.nonlinear_divergence


class Chord(eqx.Module):
    """The tolerances of the simplified Newton iteration inside a step.

    Arguments:

    - `rtol`, `atol`, `norm`: as those of a `diffrax.PIDController`, from which diffrax takes them where they are not
        given.
    - `kappa`: the part of the tolerance that the error of the iteration may use.
    """

    rtol: Any
    atol: Any
    norm: Any
    kappa: float = 0.1

    def scale(self, *ys: PyTree) -> PyTree:
        """atol + rtol |y| for the largest |y| of several states, as diffrax's controller has it."""

        def one(*values):
            y = jnp.abs(values[0])
            for value in values[1:]:
                y = jnp.maximum(y, jnp.abs(value))
            return self.atol + y * self.rtol

        return lax.stop_gradient(jax.tree.map(one, *ys))

    def size_in(self, scale: PyTree, dtype: Any) -> Callable[[PyTree], Array]:
        """The function that measures a vector of the structure of y in units of a scale."""
        return lambda v: self.norm(jax.tree.map(jnp.divide, v, scale)).astype(dtype)


class BDFStats(eqx.Module):
    """What a solve took; `solution.solver_state.stats` of a solve with `SaveAt(solver_state=True)`.

    Arguments:

    - `iterations`: of the simplified Newton method, each one vector field and one solve, in accepted steps.
    - `factorisations`: each with a new Jacobian, in accepted steps.
    - `orders`: how many accepted steps were of order 1 … 5, shape (5,).
    """

    iterations: Array
    factorisations: Array
    orders: Array


class BDFState(eqx.Module):
    """What the solver carries from step to step: the differences at spacing `h`, the order of the next step, the steps
    since the last change of length or order, and what the nonlinear equation keeps."""

    table: PyTree
    h: Array
    order: Array
    equal_steps: Array
    kept: Kept
    stats: BDFStats


class BDF(dfx.AbstractAdaptiveSolver, dfx.AbstractImplicitSolver):
    """Backward differentiation of variable order 1 to 5; for stiff systems of 100 states and more with dense Jacobians.

    A diffrax solver: `diffrax.diffeqsolve(diffrax.ODETerm(f), BDF(), ..., stepsize_controller=PIDController(...))`. A
    step takes one or two evaluations of the vector field and as many solves with factors that are renewed now and then.
    The term may be an `ODETerm`, a `MassTerm` (whose matrix may be singular, of index 1), or a class registered with
    `linearise`; the state may be any PyTree of real arrays. Orders 3 to 5 are stable in a wedge around the negative
    real axis only: where eigenvalues lie near the imaginary axis, `max_order=2` or a Rosenbrock method is better.

    Arguments:

    - `max_order`: the highest order to use, 1 to 5; default 5.
    - `rtol`, `atol`: relative and absolute tolerance by which order and step are chosen; by default those of the
        controller. To be given only with a controller that has none, such as `diffrax.ConstantStepSize`.

    Ask for `SaveAt(solver_state=True)` and read `solution.solver_state.stats`, a `BDFStats`, for what happened. Raises
    `ModelError` for an order that does not exist.
    Source: Shampine and Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22.
    """

    root_finder: Any
    root_find_max_steps: int = eqx.field(static=True)
    max_order: int = eqx.field(static=True)
    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar = BackwardInterpolation

    def __init__(self, max_order: int = tables.MAX_ORDER, *, rtol: Any = None, atol: Any = None):
        if isinstance(max_order, bool) or max_order not in range(1, tables.MAX_ORDER + 1):
            raise ModelError(
                f"There is no order {max_order!r} of backward differentiation here.",
                remedy="give max_order from 1 to 5",
            )
        if (rtol is None) != (atol is None):
            raise ModelError("BDF got one tolerance of two.", remedy="give both rtol and atol, or neither")
        if rtol is None:
            self.root_finder = dfx.with_stepsize_controller_tols(Chord)()  # pyright: ignore[reportArgumentType]
        else:
            self.root_finder = Chord(rtol=rtol, atol=atol, norm=optx.rms_norm)
        self.root_find_max_steps = 4
        self.max_order = int(max_order)

    def order(self, terms: Any) -> int:
        return self.max_order

    def error_order(self, terms: Any) -> int:
        return ERROR_ORDER

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> BDFState:
        first_field(terms, t0, y0, args)
        term, t, h = unwrap(terms, t0, t1)
        equation = equation_of(term, t, y0, args)
        zero = jnp.zeros((), jnp.int32)
        return BDFState(
            table=_first_table(equation, t, h, y0, args),
            h=h,
            order=jnp.ones((), jnp.int32),
            equal_steps=zero,
            kept=nothing_kept(_fixed(equation), t, y0, args),
            stats=BDFStats(iterations=zero, factorisations=zero, orders=jnp.zeros(tables.MAX_ORDER, jnp.int32)),
        )

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        term, t, h = unwrap(terms, t0, t1)
        equation = equation_of(term, t, y0, args)
        state = _after_jump(equation, t, h, y0, args, solver_state, made_jump)
        ratio, order = h / state.h, state.order
        table, rise, psi = tables.predicted(state.table, ratio, order)
        p = jax.tree.map(jnp.add, y0, rise)
        step = Step(equation=equation, args=args, t1=t + h, h=h, p=p, psi=psi, alpha=tables.leading(order, h.dtype))

        chord: Chord = self.root_finder
        found = root(
            _fixed(step),
            state.kept,
            chord.size_in(chord.scale(y0, p), h.dtype),
            STRICT * jnp.maximum(chord.kappa, 10 * jnp.finfo(h.dtype).eps / chord.rtol),
            self.root_find_max_steps,
            (jnp.abs(ratio) < _RETRIED) & (state.kept.age > 0),
        )
        good = found.converged
        d = as_root(step, *lax.stop_gradient((found.d, found.kept)), good)
        y1 = jax.tree.map(jnp.add, p, d)
        new, errors = tables.advanced(table, d, order)

        scale = chord.scale(y0, jax.tree.map(lambda a, b: jnp.where(good, a, b), y1, y0))
        sizes = jax.vmap(chord.size_in(scale, h.dtype))(_fixed(errors)) / STRICT
        equal_steps = jnp.where(jnp.abs(ratio - 1) > _CHANGED, 0, state.equal_steps) + 1
        decision = decide(Errors(sizes[0], sizes[1], sizes[2]), good, order, equal_steps, self.max_order)
        unit = chord.norm(jax.tree.map(jnp.ones_like, y0))
        error = jax.tree.map(lambda s: (decision.shown / unit).astype(s.dtype) * s, scale)

        # A step that diffrax keeps although it failed, with steps of fixed length, is not to go unseen.
        y1 = jax.tree.map(lambda v: jnp.where(good, v, jnp.nan), y1)
        result = dfx.RESULTS.where(good, dfx.RESULTS.successful, _FAILED)
        stats = BDFStats(
            iterations=state.stats.iterations + found.iterations,
            factorisations=state.stats.factorisations + found.factorisations,
            orders=state.stats.orders.at[order - 1].add(1),
        )
        kept = eqx.tree_at(lambda k: k.age, found.kept, found.kept.age + 1)
        after = BDFState(table=new, h=h, order=decision.order, equal_steps=decision.equal_steps, kept=kept, stats=stats)
        # diffrax fills its buffers of dense output with NaN, so nothing in them may be a whole number.
        dense = {"y1": y1, "differences": new, "order": order.astype(h.dtype)}
        return y1, error, dense, after, result


def _fixed(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda v: lax.stop_gradient(v) if eqx.is_inexact_array(v) else v, tree)


def _first_table(equation: Equation, t: Array, h: Array, y: PyTree, args: PyTree) -> PyTree:
    """∇y = h y' at the start."""
    f = equation.vf(t, y, args)
    if not equation.has_mass:
        return tables.first_table(jax.tree.map(lambda v: h.astype(v.dtype) * v, f))
    # (s M - J) y' = s f + df/dt is M y' = f up to a multiple of 1 / s, and the derivative of the algebraic equations.
    shift = _SHORTER / h
    ft = jax.jvp(lambda s: equation.vf(s, y, args), (t,), (jnp.ones_like(t),))[1]
    right = jax.tree.map(lambda v, w: shift.astype(v.dtype) * v + w, f, ft)
    slope = equation.local(t, y, args).factorise(shift)(right)
    return tables.first_table(jax.tree.map(lambda v: h.astype(v.dtype) * v, slope))


def _after_jump(
    equation: Equation, t: Array, h: Array, y: PyTree, args: PyTree, state: BDFState, made_jump: Any
) -> BDFState:
    """The state as it is, or at order 1 with a new slope if the equation jumped in between."""
    if made_jump is False:
        return state

    def anew():
        table = _first_table(equation, t, h, y, args)
        return table, h, jnp.ones((), jnp.int32), jnp.zeros((), jnp.int32)

    kept = state.table, state.h, state.order, state.equal_steps
    table, h, order, equal_steps = lax.cond(made_jump, anew, lambda: kept)
    return BDFState(table=table, h=h, order=order, equal_steps=equal_steps, kept=state.kept, stats=state.stats)
