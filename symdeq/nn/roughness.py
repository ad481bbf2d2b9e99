"""`roughness`: what makes a solver take many steps, as a term of a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from symdeq._errors import ModelError, UnsupportedError
from symdeq.solve import Solution


def roughness(solution: Solution, order: int = 2) -> Array:
    """The mean square of a time derivative along a solution, which a loss may penalise to save steps.

    The steps of a method of order p are set by the derivative of order p + 1; a lower one is cheaper and serves as
    well: J. Kelly, J. Bettencourt, M. J. Johnson, D. Duvenaud, Learning differential equations that are easy to solve,
    NeurIPS 2020, equation 1. The first is the kinetic energy of C. Finlay et al., How to train your neural ODE, ICML
    2020.

    Arguments:

    - `solution`: from `layer.solve(vector)`, at times all over the interval.
    - `order`: of the derivative, at least 1; default 2. Each more doubles the work.

    Returns a scalar, the mean over states and times. It is computed from the equations, not from differences.
    Raises `UnsupportedError` for models with algebraic equations.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ModelError(f"The order of a derivative must be a whole number from 1 on, not {order!r}.")
    model = solution.model
    if model.kind != "ode":
        raise UnsupportedError(
            f"`{model.system.name}` has algebraic equations, and no derivatives of their unknowns.",
            remedy="penalise the derivatives that the model has: outputs=[D(x)]",
        )
    derivative: Callable[[Any, Any], Any] = model.rhs
    for _ in range(order - 1):
        derivative = _along(model.rhs, derivative)
    return jnp.mean(jax.vmap(derivative)(solution.ts, solution.ys) ** 2)


def _along(rhs: Callable[[Any, Any], Any], function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The derivative of a function of time and state along the solutions."""

    def rate(t: Any, y: Any) -> Any:
        return jax.jvp(function, (t, y), (jnp.ones_like(t), rhs(t, y)))[1]

    return rate
