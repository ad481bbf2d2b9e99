"""Solvers and step size controllers that change one thing about another one, and hand on the rest."""

from __future__ import annotations

from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
from jaxtyping import PyTree


class WrappedSolver(dfx.AbstractWrappedSolver):
    """A solver that is another one in all that a subclass does not change."""

    solver: eqx.AbstractVar[dfx.AbstractSolver]

    @property
    def term_structure(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.term_structure

    @property
    def term_compatible_contr_kwargs(self) -> Any:
        return self.solver.term_compatible_contr_kwargs

    @property
    def interpolation_cls(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.interpolation_cls

    @property
    def scan_kind(self) -> Any:
        """diffrax sets this field of its Runge-Kutta methods by the way of differentiation, through the wrapper."""
        return getattr(self.solver, "scan_kind", "lax")

    @property
    def root_finder(self) -> Any:
        """Likewise for the tolerances of its implicit methods."""
        return self.solver.root_finder  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def root_find_max_steps(self) -> Any:
        return self.solver.root_find_max_steps  # pyright: ignore[reportAttributeAccessIssue]

    def order(self, terms: Any) -> Any:
        return self.solver.order(terms)

    def strong_order(self, terms: Any) -> Any:
        return self.solver.strong_order(terms)

    def error_order(self, terms: Any) -> Any:
        return self.solver.error_order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> Any:
        return self.solver.init(terms, t0, t1, y0, args)

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> Any:
        return self.solver.func(terms, t0, y0, args)


class Tried(NamedTuple):
    """A step that was tried from `t0` to `t1`, and the next, from `start` to `end`, that the inner controller asks for.

    `keep` tells whether the step was accepted; if not, `start` is `t0` again.
    """

    t0: Any
    t1: Any
    y0: PyTree
    y1: PyTree
    args: PyTree
    keep: Any
    start: Any
    end: Any
    jumped: Any


class WrappedController(dfx.AbstractAdaptiveStepSizeController):
    """A step size controller that asks another one for each step, and says where the step ends after all."""

    controller: eqx.AbstractVar[Any]

    @property
    def rtol(self) -> Any:
        return self.controller.rtol

    @property
    def atol(self) -> Any:
        return self.controller.atol

    @property
    def norm(self) -> Any:
        return self.controller.norm

    def wrap(self, direction: Any) -> Any:
        return eqx.tree_at(lambda c: c.controller, self, self.controller.wrap(direction))

    def first(self, t0: Any, end: Any, y0: PyTree, args: PyTree) -> tuple[Any, PyTree]:
        """The end of the first step, and what to remember; nothing is changed unless a subclass does."""
        return end, None

    def following(self, tried: Tried, own: PyTree) -> tuple[Any, Any, PyTree]:
        """The end of the next step, whether the solution jumps at its start, and what to remember."""
        return tried.end, tried.jumped, own

    def init(
        self, terms: PyTree, t0: Any, t1: Any, y0: PyTree, dt0: Any, args: PyTree, func: Any, error_order: Any
    ) -> Any:
        end, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        end, own = self.first(t0, end, y0, args)
        return end, (inner, own)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree,
        y1_candidate: PyTree,
        args: PyTree,
        y_error: PyTree,
        error_order: Any,
        controller_state: Any,
    ) -> Any:
        inner, own = controller_state
        keep, start, end, jumped, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        tried = Tried(t0, t1, y0, y1_candidate, args, keep, start, end, jumped)
        end, jumped, own = self.following(tried, own)
        return keep, start, end, jumped, (inner, own), result
