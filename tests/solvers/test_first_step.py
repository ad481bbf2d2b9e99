"""The first step against SciPy's choice by the same published rule, and its safety where that rule says nothing."""

import diffrax as dfx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate._ivp.common import select_initial_step

from symdeq.solvers import FirstStep, Rodas5P
from tests import models


def first_step(field, t0, t1, y0, rtol=1e-6, atol=1e-9, order=5):
    controller = FirstStep(dfx.PIDController(rtol=rtol, atol=atol))
    term = dfx.ODETerm(field)
    tau, _ = controller.init(term, t0, t1, y0, None, None, lambda terms, t, y, args: terms.vf(t, y, args), order)
    return float(tau) - t0


PROBLEMS = {
    "decay": (lambda t, y, _: -3.0 * y, 0.0, 10.0, jnp.array([2.0, 5.0])),
    "oscillation": (lambda t, y, _: jnp.stack([y[1], -400.0 * y[0]]), 1.0, 4.0, jnp.array([1.0, 0.3])),
    "driven": (lambda t, y, _: jnp.cos(50 * t) - y**2, 0.5, 2.0, jnp.array([0.7])),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("order", [2, 5])
def test_the_published_rule(name, order):
    field, t0, t1, y0 = PROBLEMS[name]
    fun = lambda t, y: np.asarray(field(t, jnp.asarray(y), None))  # noqa: E731
    y = np.asarray(y0)
    expected = select_initial_step(fun, t0, y, t1, np.inf, fun(t0, y), 1, order, 1e-6, 1e-9)
    assert first_step(field, t0, t1, y0, order=order) == pytest.approx(expected, rel=1e-9)


def test_never_longer_than_the_interval_and_never_nothing():
    still = lambda t, y, _: jnp.zeros_like(y)  # noqa: E731
    assert first_step(still, 0.0, 1e-3, jnp.ones(2)) <= 1e-3
    assert first_step(still, 0.0, 1e-3, jnp.ones(2)) > 0
    assert first_step(lambda t, y, _: -y, 1e6, 1e6 + 1, jnp.ones(2)) > 0
    steep = first_step(lambda t, y, _: -jnp.exp(3 * y), 0.0, 1.0, jnp.array([10.0]))
    assert 0 < steep < 1e-12


def test_a_trial_step_out_of_the_domain_gives_a_small_step():
    field = lambda t, y, _: -jnp.sqrt(y - 1)  # noqa: E731
    step = first_step(field, 0.0, 100.0, jnp.array([1.0 + 1e-12]))
    assert np.isfinite(step)
    assert 0 < step <= 0.1


def test_a_given_step_is_respected():
    controller = FirstStep(dfx.PIDController(rtol=1e-6, atol=1e-9))
    tau, _ = controller.init(dfx.ODETerm(PROBLEMS["decay"][0]), 0.0, 1.0, jnp.ones(1), 0.25, None, lambda *a: a, 5)
    assert float(tau) == 0.25


def test_no_absurd_first_step_is_accepted_on_an_explosive_problem():
    """y' = -exp(3 y) from 10: with a first step of 0.01 the error, measured by the absurd end itself, looks small."""
    sol = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, _: -jnp.exp(3 * y)), Rodas5P(), 0.0, 1.0, None, jnp.array([10.0]), throw=False,
        stepsize_controller=FirstStep(dfx.PIDController(rtol=1e-6, atol=1e-9)), max_steps=500,
    )  # fmt: skip
    assert sol.ys is not None
    # The closed form: exp(-3 y) grows by 3 t.
    assert float(sol.ys[0, 0]) == pytest.approx(-np.log(np.exp(-30.0) + 3.0) / 3, rel=1e-5)


def test_solve_uses_it():
    """The first accepted step of a model, which is no bare ODETerm, is the rule's and not 0.01."""
    import symdeq as sd

    model = models.growth()
    ts = np.asarray(sd.solve(model, t1=2.0).ts)
    expected = first_step(lambda t, y, _: 0.7 * y, 0.0, 2.0, model.initial_state())
    assert abs(expected - 0.01) > 0.001
    assert ts[1] - ts[0] == pytest.approx(expected, rel=1e-9)
