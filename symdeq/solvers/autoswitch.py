"""The switching solver: an explicit and a Rosenbrock method inside one diffrax solve, chosen step by step.

The explicit method is left when most of its last accepted steps were held at the edge of its stability region, or by
the error that a stiff variable causes: Shampine, Stiffness and nonstiff differential equation solvers II, ACM TOMS 3
(1977) 44-53. It is taken up again when the Rosenbrock method's steps are too short to pay for what they cost: Petzold,
SIAM J. Sci. Stat. Comput. 4 (1983) 136-148. `docs/decisions/006-switching.md` has the measurements behind the numbers.
"""

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.explicit import ExplicitTableau, explicit_step
from symdeq.solvers.explicit_tableaus import TSIT5
from symdeq.solvers.interpolation import StepInterpolation
from symdeq.solvers.linearise import linearise
from symdeq.solvers.rodas5p import RODAS5P
from symdeq.solvers.rosenbrock import RosenbrockTableau, rosenbrock_step
from symdeq.solvers.step import StepInput, StepOutput, field_at_start, finish, first_field, unwrap

# A Rosenbrock stage (vector field and solve, and its share of Jacobian and factorisation) costs _STAGE n^_GROWTH
# explicit ones in a system of n states. A Rosenbrock step counts as wasted where explicit steps as long as they were
# when that method was left would have got as far for _WORTH of its cost.
_STAGE, _GROWTH, _WORTH = 1.33, 0.25, 0.5
# So many wasted steps bring the explicit method back. Here and there, a step that speaks for the method in use takes
# _TAKEN_BACK half steps of the evidence back.
_WASTED_STEPS = 10
_TAKEN_BACK = 4
# Where both methods cost much the same, none is worth a change: each return to the explicit one asks for more evidence
# against it, up to so many times as much.
_PATIENCE = 8


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
    """What the switching solver carries from step to step.

    `f` is the vector field at the start of the next one, `against` the balance of steps that spoke against the method
    in use, counted in halves, `reach` the part of the stability interval that the explicit method used when it was
    left; negative, it is the length of its last step still, which the next step's Jacobian turns into that part.
    """

    f: PyTree
    against: Array
    reach: Array
    stats: SwitchStats


class AutoSwitch(dfx.AbstractAdaptiveSolver):
    """Switches between an explicit and a Rosenbrock method as the equation demands, without being told which it is.

    Arguments:

    - `explicit`, `implicit`: the tableaus of the two methods: `TSIT5` and `RODAS5P` by default, `DOP853` and `RODAS5P`
      for relative tolerances of 1e-8 and tighter, `BOSH3` and `ROSENBROCK23` for those of 1e-2 and looser.
    - `start_implicit`: the method of the first steps, a Boolean or a Boolean array, which may be traced.

    With a mass matrix only the Rosenbrock method is built and used. Ask for `SaveAt(solver_state=True)` and read
    `solution.solver_state.stats`, a `SwitchStats`, for what happened.
    """

    explicit: ExplicitTableau = eqx.field(static=True, default=TSIT5)
    implicit: RosenbrockTableau = eqx.field(static=True, default=RODAS5P)
    start_implicit: Any = False
    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar = StepInterpolation

    def order(self, terms: Any) -> int:
        return min(self.explicit.order, self.implicit.order)

    def error_order(self, terms: Any) -> float:
        # One power serves both methods. Half-way between theirs, the errors of either settle equally fast.
        return (self.explicit.error_order + self.implicit.error_order) / 2

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
        return SwitchState(f=first_field(terms, t0, y0, args), against=zero, reach=jnp.ones_like(t), stats=stats)

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        term, t, h = unwrap(terms, t0, t1)
        f0 = field_at_start(term, t, y0, args, solver_state.f, made_jump)
        start, point = StepInput(term=term, t=t, h=h, y=y0, f=f0, args=args), _point(term, t, y0, args)
        coefficients = max(len(self.explicit.dense), len(self.implicit.dense))
        if point.has_mass:
            out = rosenbrock_step(self.implicit, start, coefficients)
            return finish(y0, out, _kept_implicit(solver_state, out.f))

        out = lax.cond(
            solver_state.stats.implicit,
            lambda: rosenbrock_step(self.implicit, start, coefficients),
            lambda: explicit_step(self.explicit, point.dfdt is None, start, coefficients),
        )
        states = sum(jnp.size(v) for v in jax.tree.leaves(y0))
        return finish(y0, out, self._judged(solver_state, out, jnp.abs(h), t + h, states))

    def _judged(self, state: SwitchState, out: StepOutput, h: Array, t1: Array, states: int) -> SwitchState:
        """The state after a step of length h. diffrax drops it if the step is rejected."""
        old, explicit = state.stats, self.explicit
        rate = (out.rate * (1 / explicit.stability)).astype(h.dtype)
        part = h * rate
        reach = jnp.where(state.reach < 0, jnp.minimum(-state.reach * rate, 1), state.reach)
        cost = _STAGE * states**_GROWTH * len(self.implicit.b) / (len(explicit.times) - 1)
        wasted = part <= _WORTH * cost * reach
        smooth = (part * (1 / explicit.smooth)) ** (explicit.error_order + 2) <= out.deviation
        # NaN counts as stiff.
        evidence = jnp.where(part <= explicit.edge, jnp.where(smooth, -_TAKEN_BACK, 1), 2)
        evidence = jnp.where(old.implicit, jnp.where(wasted, 2, -_TAKEN_BACK), evidence)
        against = jnp.maximum(state.against + evidence, 0)
        needed = explicit.evidence * jnp.minimum(1 + (old.switches >> 1), _PATIENCE)
        switched = against >= 2 * jnp.where(old.implicit, _WASTED_STEPS, needed)
        to_implicit = switched & ~old.implicit
        stats = SwitchStats(
            explicit_steps=old.explicit_steps + ~old.implicit,
            implicit_steps=old.implicit_steps + old.implicit,
            switches=old.switches + switched,
            first_switch=jnp.where(to_implicit & jnp.isinf(old.first_switch), t1, old.first_switch),
            last_switch=jnp.where(switched, t1, old.last_switch),
            implicit=old.implicit ^ switched,
        )
        reach = jnp.where(old.implicit, reach, -h)
        return SwitchState(f=out.f, against=jnp.where(switched, 0, against), reach=reach, stats=stats)


def _point(term: Any, t: Any, y: PyTree, args: PyTree) -> Any:
    """The linearisation's shape, for what is known before any number is: nothing is computed."""
    return eqx.filter_eval_shape(linearise, term, t, y, args)


def _kept_implicit(state: SwitchState, f: PyTree) -> SwitchState:
    stats = eqx.tree_at(lambda s: s.implicit_steps, state.stats, state.stats.implicit_steps + 1)
    return SwitchState(f=f, against=state.against, reach=state.reach, stats=stats)
