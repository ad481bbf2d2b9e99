"""What one step of any method here takes and gives, and the rule that differentiates it."""

import types
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax._term import WrapTerm
from jax import lax
from jaxtyping import Array, PyTree

from symdeq._errors import UnsupportedError


class StepInput(NamedTuple):
    """A step from (t, y) over the signed length h; f is the vector field there, handed on by the step before."""

    term: Any
    t: Any
    h: Any
    y: PyTree
    f: PyTree
    args: PyTree


class StepOutput(NamedTuple):
    """The end of a step: solution, error estimate, the coefficients of `StepInterpolation`, vector field, the
    stiffness |λ| (`rate`), and the largest error estimate relative to the solution (`deviation`)."""

    y: PyTree
    error: PyTree
    dense: tuple[PyTree, ...]
    f: PyTree
    rate: Array
    deviation: Array


def unwrap(terms: Any, t0: Any, t1: Any) -> tuple[Any, Any, Any]:
    """The term inside diffrax's wrapper, which makes time run forwards, and the time and step in its own time."""
    t0 = jnp.asarray(t0)
    h = jnp.asarray(t1) - t0
    while isinstance(terms, WrapTerm):
        terms, t0, h = terms.term, t0 * terms.direction, h * terms.direction
    return terms, t0, h


def first_field(terms: Any, t: Any, y: PyTree, args: PyTree) -> PyTree:
    """f(t, y) at the start of a solve."""
    f = terms.vf(t, y, args)
    _check_equation(unwrap(terms, t, t)[0], y, f)
    return f


def _check_equation(term: Any, y: PyTree, f: PyTree) -> None:
    """One ordinary differential equation over real numbers is all that the methods here can solve."""
    if any(jnp.iscomplexobj(v) for v in jax.tree.leaves(y)):
        raise UnsupportedError(
            "The state is complex, which the Rosenbrock and switching solvers do not support.",
            remedy="split it into real and imaginary parts",
        )
    shapes = [jax.tree.map(jnp.shape, v) for v in (y, f)]
    if isinstance(term, dfx.ControlTerm | dfx.MultiTerm) or shapes[0] != shapes[1]:
        raise UnsupportedError(
            f"The term is a {type(term).__name__}, and its vector field does not give dy/dt for the whole state.",
            remedy="give one ODETerm or MassTerm whose vector field returns what the state looks like",
        )


def field_at_start(term: Any, t: Any, y: PyTree, args: PyTree, kept: PyTree, made_jump: Any) -> PyTree:
    """The vector field that the step before left behind, or a new one if the equation jumped in between."""
    if made_jump is False:
        return kept
    return lax.cond(made_jump, lambda: term.vf(t, y, args), lambda: kept)


def differentiated(step: Callable[[StepInput], StepOutput], start: StepInput) -> StepOutput:
    """`step(start)`, with a derivative that survives a step that overflowed.

    The step size controller rejects such a step, so its derivative is put to zero: left alone, the reverse pass would
    multiply the zero that comes back from a rejected step by an infinity and get NaN.
    """
    if not all(_closes_over_nothing(leaf) for leaf in jax.tree.leaves((start.term, start.args))):
        # A derivative rule may not meet a traced value that hides in a closure, so such values become arguments.
        step = eqx.filter_closure_convert(step, start)
    return _with_rule(step, start)


@eqx.filter_custom_jvp
def _with_rule(step: Any, start: StepInput) -> StepOutput:
    return step(start)


@_with_rule.def_jvp
def _rule(primals: Any, tangents: Any) -> tuple[StepOutput, StepOutput]:
    leaves, structure = jax.tree.flatten(primals)
    t_leaves = structure.flatten_up_to(tangents)
    moving = [i for i, tangent in enumerate(t_leaves) if tangent is not None]

    def rerun(*values: Any) -> StepOutput:
        changed = dict(zip(moving, values, strict=True))
        step, start = jax.tree.unflatten(structure, [changed.get(i, leaf) for i, leaf in enumerate(leaves)])
        return step(start)

    out, derivative = jax.linearize(rerun, *(leaves[i] for i in moving))
    finite = _all_finite((out.y, out.error, out.f))
    return out, derivative(*(jnp.where(finite, t_leaves[i], 0) for i in moving))


def _closes_over_nothing(leaf: Any) -> bool:
    if not callable(leaf):
        return True
    return isinstance(leaf, types.BuiltinFunctionType | type) or (
        isinstance(leaf, types.FunctionType) and leaf.__closure__ is None
    )


def refuse_bad_step(
    y: PyTree, error: PyTree, f: PyTree, x: Array | None = None, correction: Array | None = None
) -> tuple[PyTree, PyTree]:
    """The end of a step and its error estimate: NaN and infinity where a number overflowed or the linear solve failed.

    An infinite estimate lets the step size controller try a smaller step, in which shift M dominates the matrix of a
    solve. The end becomes NaN so that a solve with fixed steps, which asks for no estimate, cannot keep it unseen; an
    infinite end would moreover give diffrax's controller the quotient of two infinities for the next step size.

    Arguments:

    - `x`, `correction`: what a linear solve gave, and about what it is wrong by; `None` where that is no question.
    """
    good = _all_finite((y, f))
    if x is not None and correction is not None:
        good = good & (jnp.max(correction) <= jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.max(jnp.abs(x)))
    y = jax.tree.map(lambda v: jnp.where(good, v, jnp.nan), y)
    return y, jax.tree.map(lambda v: jnp.where(good, v, jnp.inf), error)


def _all_finite(tree: PyTree) -> Array:
    return jnp.isfinite(sum(jnp.sum(v) for v in jax.tree.leaves(tree)))


def filled_up(dense: tuple[PyTree, ...], coefficients: int) -> tuple[PyTree, ...]:
    """The coefficients of a dense output of lower degree as those of one of higher degree."""
    return dense + (jax.tree.map(jnp.zeros_like, dense[0]),) * (coefficients - len(dense))


def finish(y0: PyTree, out: StepOutput, solver_state: Any) -> tuple[PyTree, PyTree, dict[str, Any], Any, dfx.RESULTS]:
    """What `diffrax.AbstractSolver.step` returns."""
    return out.y, out.error, {"y0": y0, "y1": out.y, "k": out.dense}, solver_state, dfx.RESULTS.successful
