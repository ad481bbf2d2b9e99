"""The switching solver: an explicit and a Rosenbrock method inside one diffrax solve, chosen step by step.

The explicit method is left when most of its last accepted steps were held at the edge of its stability region, and
taken up again when most of many Rosenbrock steps would have fitted inside it: Shampine, Stiffness and nonstiff
differential equation solvers II, ACM TOMS 3 (1977) 44-53; Petzold, SIAM J. Sci. Stat. Comput. 4 (1983) 136-148.
"""

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.explicit import ExplicitTableau, explicit_step
from symdeq.solvers.explicit_tableaus import TSIT5
from symdeq.solvers.interpolation import QuarticInterpolation
from symdeq.solvers.linearise import linearise
from symdeq.solvers.rodas5p import RODAS5P
from symdeq.solvers.rosenbrock import RosenbrockTableau, rosenbrock_step
from symdeq.solvers.step import StepInput, field_at_start, finish, first_field, unwrap

# The part of the explicit method's stability interval beyond which a step counts as stiff. At tight tolerances the
# error estimate holds the steps well inside the interval, so this is not close to 1.
_EDGE = 0.65
# So many steps must speak against the method in use, where each that speaks for it takes two back.
_STIFF_STEPS = 8
_NONSTIFF_STEPS = 25
_TAKEN_BACK = 2


class SwitchStats(eqx.Module):
    """What a switching solve did; `solution.solver_state.stats` of a solve with `SaveAt(solver_state=True)`.

    Arguments:

    - `explicit_steps`, `implicit_steps`: accepted steps of either kind.
    - `switches`: how often the method changed, in either direction.
    - `first_switch`: the time of the first change to the implicit method, infinity if there was none.
    - `last_switch`: the time of the last change in either direction, infinity if there was none.
    - `implicit`: whether the implicit method was in use at the end.
    """

    explicit_steps: Array
    implicit_steps: Array
    switches: Array
    first_switch: Array
    last_switch: Array
    implicit: Array


class SwitchState(eqx.Module):
    """What the switching solver carries from step to step: `f` is the vector field at the start of the next one,
    `against` the balance of steps that spoke against the method in use."""

    f: PyTree
    against: Array
    stats: SwitchStats


class AutoSwitch(dfx.AbstractAdaptiveSolver):
    """Switches between an explicit and a Rosenbrock method as the equation demands, without being told which it is.

    Arguments:

    - `explicit`, `implicit`: the tableaus of the two methods, `TSIT5` and `RODAS5P` (for tolerances of about 1e-5 and
      tighter) or `BOSH3` and `ROSENBROCK23`.
    - `start_implicit`: the method of the first steps, a Boolean or a Boolean array, which may be traced.

    With a mass matrix only the Rosenbrock method is built and used. Ask for `SaveAt(solver_state=True)` and read
    `solution.solver_state.stats`, a `SwitchStats`, for what happened.
    """

    explicit: ExplicitTableau = eqx.field(static=True, default=TSIT5)
    implicit: RosenbrockTableau = eqx.field(static=True, default=RODAS5P)
    start_implicit: Any = False
    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar = QuarticInterpolation

    def order(self, terms: Any) -> int:
        return min(self.explicit.order, self.implicit.order)

    def error_order(self, terms: Any) -> int:
        return min(self.explicit.error_order, self.implicit.error_order)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> SwitchState:
        term, t, _ = unwrap(terms, t0, t1)
        never = jnp.full_like(t, jnp.inf)
        zero = jnp.zeros((), jnp.int32)
        stats = SwitchStats(
            explicit_steps=zero,
            implicit_steps=zero,
            switches=zero,
            first_switch=never,
            last_switch=never,
            implicit=jnp.asarray(self.start_implicit, bool) | _point(term, t, y0, args).has_mass,
        )
        return SwitchState(f=first_field(terms, t0, y0, args), against=zero, stats=stats)

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        term, t, h = unwrap(terms, t0, t1)
        f0 = field_at_start(term, t, y0, args, solver_state.f, made_jump)
        start, point = StepInput(term=term, t=t, h=h, y=y0, f=f0, args=args), _point(term, t, y0, args)
        if point.has_mass:
            out = rosenbrock_step(self.implicit, start)
            return finish(y0, out, _kept_implicit(solver_state, out.f))
        out = lax.cond(
            solver_state.stats.implicit,
            lambda: rosenbrock_step(self.implicit, start),
            lambda: explicit_step(self.explicit, point.dfdt is None, start),
        )
        return finish(y0, out, _judged(solver_state, out.f, out.size, self.explicit.stability, t + h))


def _point(term: Any, t: Any, y: PyTree, args: PyTree) -> Any:
    """The linearisation's shape, for what is known before any number is: nothing is computed."""
    return eqx.filter_eval_shape(linearise, term, t, y, args)


def _kept_implicit(state: SwitchState, f: PyTree) -> SwitchState:
    stats = eqx.tree_at(lambda s: s.implicit_steps, state.stats, state.stats.implicit_steps + 1)
    return SwitchState(f=f, against=state.against, stats=stats)


def _judged(state: SwitchState, f: PyTree, size: Array, stability: float, t1: Array) -> SwitchState:
    """The state after a step whose h |λ| was `size`. diffrax drops it if the step is rejected."""
    old = state.stats
    stiff = ~(size <= _EDGE * stability)  # NaN counts as stiff
    against = jnp.where(stiff ^ old.implicit, state.against + 1, jnp.maximum(state.against - _TAKEN_BACK, 0))
    switched = against >= jnp.where(old.implicit, _NONSTIFF_STEPS, _STIFF_STEPS)
    to_implicit = switched & ~old.implicit
    stats = SwitchStats(
        explicit_steps=old.explicit_steps + ~old.implicit,
        implicit_steps=old.implicit_steps + old.implicit,
        switches=old.switches + switched,
        first_switch=jnp.where(to_implicit & jnp.isinf(old.first_switch), t1, old.first_switch),
        last_switch=jnp.where(switched, t1, old.last_switch),
        implicit=old.implicit ^ switched,
    )
    return SwitchState(f=f, against=jnp.where(switched, 0, against), stats=stats)
