"""A solve that failed says so, where, and what to do; nothing hangs and nothing is silent."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq, t
from tests import models


def compiled(rhs, start=1.0, name="example"):
    x = sd.state("x", start)
    return sd.compile(sd.System([Eq(D(x), rhs(x))], name=name))


def failure(model, **options):
    sol = sd.solve(model, throw=False, **options)
    assert not sol.ok
    return sol.failure


def test_growth_without_bound():
    text = failure(compiled(lambda x: x**2), t1=2.0)
    assert "stopped at t = 1 of 2" in text
    assert "`x` grows without bound" in text
    assert "t1 below 1" in text


def test_domain():
    text = failure(compiled(lambda x: -1 / sp.sqrt(x)), t1=2.0)
    assert "stopped at t = 0.666667" in text
    assert "`x` changes there faster than the time can be resolved" in text
    text = failure(compiled(lambda x: -sp.sqrt(x - 2)), t1=2.0)
    assert "the derivative of `x` is not finite" in text


def test_too_few_steps():
    text = failure(models.lotka_volterra(), t1=10.0, max_steps=20)
    assert "after max_steps = 20 steps" in text
    assert "raise max_steps" in text
    assert "x = " in text


def test_what_was_not_reached_is_nan_and_the_times_stay():
    ts = np.linspace(0, 10, 11)
    sol = sd.solve(models.lotka_volterra(), t1=10.0, saveat=ts, max_steps=40, throw=False)
    np.testing.assert_array_equal(sol.ts, ts)
    reached = ts <= float(sol.t_end)
    assert reached.any()
    assert not reached.all()
    np.testing.assert_array_equal(np.isfinite(sol.ys).all(1), reached)


def test_traced_times_out_of_order_are_reported():
    @jax.jit
    def run(ts):
        return sd.solve(models.growth(), t1=2.0, saveat=ts)

    assert run(jnp.array([0.5, 1.0])).ok
    bad = run(jnp.array([1.0, 0.5]))
    assert not bad.ok
    assert "not in order" in bad.failure
    assert not run(jnp.array([1.0, 2.5])).ok


def test_throw_raises_the_same_sentence():
    with pytest.raises(sd.SolveError) as caught:
        sd.solve(compiled(lambda x: x**2), t1=2.0)
    assert str(caught.value) == failure(compiled(lambda x: x**2), t1=2.0)
    assert isinstance(caught.value, RuntimeError)


def test_nothing_to_start_from_for_algebraic_equations():
    x, z = sd.states(x=1.0, z=sd.guess(0.3))
    model = sd.compile(sd.System([Eq(D(x), -x), Eq(z**2 + 1, -x)], name="no_root"))
    text = failure(model, t1=1.0)
    assert "no_root" in text
    assert "no values of `z` were found" in text


def test_no_host_callback_in_the_program():
    model = models.lotka_volterra()

    def end(a, ts, t1):
        return sd.solve(model.replace(a=a), t1=t1, saveat=ts, throw=False).ys

    text = jax.jit(end).lower(1.5, jnp.linspace(0.0, 1.0, 5), 1.0).as_text()
    assert "callback" not in text
    solver = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, _: -y), dfx.Tsit5(), 0.0, 1.0, None, jnp.ones(1),
        saveat=dfx.SaveAt(t1=True), stepsize_controller=dfx.PIDController(rtol=1e-3, atol=1e-3),
    )  # fmt: skip
    assert solver.ys is not None


def test_time_dependent_right_hand_side_that_ends():
    text = failure(compiled(lambda x: sp.log(1 - t)), t1=2.0)
    assert "stopped at t = 1" in text or "not finite" in text
