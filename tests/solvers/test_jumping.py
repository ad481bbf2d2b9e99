"""Jumps at known times: each of them comes, once, whatever the other times and the unit of time."""

from typing import Any

import diffrax as dfx
import jax.numpy as jnp
import numpy as np
import pytest

from symdeq.solvers import Breakpoints, FirstStep, Jumping


def solve(times, t1, vector_field, jump, y0=0.0, dtype: Any = jnp.float64) -> Any:
    times = jnp.asarray(times, dtype)
    controller: dfx.AbstractStepSizeController = Breakpoints(
        FirstStep(dfx.PIDController(rtol=1e-6, atol=1e-6)), times, same=0
    )
    return dfx.diffeqsolve(
        dfx.ODETerm(vector_field),
        Jumping(dfx.Tsit5(), times, jump),
        jnp.zeros((), dtype),
        jnp.asarray(t1, dtype),
        None,
        jnp.asarray(y0, dtype),
        stepsize_controller=controller,
        throw=False,
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e12])
def test_every_jump_comes_and_those_after_the_end_do_not(unit, dtype):
    eps = float(jnp.finfo(dtype).eps)
    near = 0.5 * (1 + eps * np.arange(0, 60, 10))  # within less than the breakpoints of lags are told apart by
    times = unit * np.concatenate([[1e-7, 0.25], near, [0.75, 0.75, 1 - 20 * eps, 1 - eps, 1.0, 1.5, 4.0]])
    sol = solve(times, unit, lambda t, y, _: jnp.zeros_like(y), lambda k, t, y, _: y + 2.0**k, dtype=dtype)
    assert float(sol.ys[0]) == 2.0**13 - 1


def test_jumps_at_one_time_follow_each_other_in_their_order():
    size = jnp.array([1.0, 3.0, 0.5])
    sol = solve([0.5, 0.5, 0.25], 1.0, lambda t, y, _: -y, lambda k, t, y, _: size[k] * y + (k == 0), y0=1.0)
    exact = 3 * (np.exp(-0.5) * 0.5 + 1) * np.exp(-0.5)
    assert float(sol.ys[0]) == pytest.approx(exact, rel=1e-5)


def test_more_jumps_at_one_time_than_can_be_made_are_no_number():
    several = solve([0.5] * 4, 1.0, lambda t, y, _: jnp.zeros_like(y), lambda k, t, y, _: y + 1)
    assert float(several.ys[0]) == 4
    many = solve([0.5] * 5, 1.0, lambda t, y, _: jnp.zeros_like(y), lambda k, t, y, _: y + 1)
    assert many.result != dfx.RESULTS.successful or np.isnan(many.ys).all()
