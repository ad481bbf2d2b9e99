"""Gradients through `solve` against finite differences of tight solves, and against each other."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symdeq as sd
from tests import models
from tests.zoo import hires


def test_gradient_through_robertson_agrees_with_finite_differences_of_a_tight_solve():
    model = models.rober()
    ts = np.geomspace(1e-2, 1e5, 20)
    scale = jnp.array([1.0, 1e4, 1.0])

    def loss(log_k, rtol, atol, max_steps=4096):
        values = {name: jnp.exp(log_k[i]) for i, name in enumerate(("k1", "k2", "k3"))}
        return jnp.sum(
            (sd.solve(model.replace(values), t1=1e5, saveat=ts, rtol=rtol, atol=atol, max_steps=max_steps).ys * scale)
            ** 2
        )

    log_k = jnp.log(model.values)
    gradient = jax.jit(jax.grad(loss))(log_k, 1e-6, 1e-9)
    tight = jax.jit(lambda log_k: loss(log_k, 1e-11, 1e-15, max_steps=100_000))
    h = 1e-3
    for i in range(3):
        # Central differences extrapolated once (Richardson), so that the reference is good to some 1e-9.
        d = [(tight(log_k.at[i].add(s)) - tight(log_k.at[i].add(-s))) / (2 * s) for s in (h, h / 2)]
        expected = (4 * d[1] - d[0]) / 3
        assert float(gradient[i]) == pytest.approx(float(expected), rel=1e-4)


ADJOINTS = [dfx.RecursiveCheckpointAdjoint(), dfx.DirectAdjoint(), dfx.BacksolveAdjoint()]


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=lambda a: type(a).__name__)
def test_adjoints_agree(adjoint):
    model = models.lotka_volterra()
    ts = np.linspace(0.5, 5.0, 10)

    def loss(a, adjoint):
        sol = sd.solve(model.replace(a=a), t1=5.0, saveat=ts, adjoint=adjoint, rtol=1e-8, atol=1e-8, max_steps=512)
        return jnp.sum(sol.ys**2)

    expected = jax.jacfwd(lambda a: loss(a, dfx.ForwardMode()))(1.5)
    assert float(jax.grad(lambda a: loss(a, adjoint))(1.5)) == pytest.approx(float(expected), rel=1e-5)


def test_gradient_with_respect_to_a_model_is_a_model():
    model = models.growth()
    gradient = eqx.filter_grad(
        lambda m: sd.solve(m, t1=2.0, saveat=[2.0], rtol=1e-10, atol=1e-10, max_steps=512).ys[0, 0]
    )(model)
    assert float(gradient["alpha"]) == pytest.approx(2.0 * 2.0 * np.exp(1.4), rel=1e-7)
    assert float(gradient["r"]) == pytest.approx(np.exp(1.4), rel=1e-7)


def test_gradient_with_respect_to_initial_values_and_times():
    model = models.growth()

    def end(start, t1):
        return sd.solve(
            model.replace(r=start), t1=t1, saveat=dfx.SaveAt(t1=True), rtol=1e-10, atol=1e-10, max_steps=512
        ).ys[0, 0]

    by_start, by_time = jax.grad(end, argnums=(0, 1))(2.0, 2.0)
    assert float(by_start) == pytest.approx(np.exp(1.4), rel=1e-7)
    assert float(by_time) == pytest.approx(0.7 * 2.0 * np.exp(1.4), rel=1e-5)


def test_gradient_through_algebraic_equations():
    model = models.algebraic()

    def end(k):
        return sd.solve(model.replace(k=k), t1=1.0, saveat=[1.0], rtol=1e-10, atol=1e-12, max_steps=512).ys[0]

    h = 1e-4
    expected = (np.asarray(end(1 + h)) - np.asarray(end(1 - h))) / (2 * h)
    np.testing.assert_allclose(jax.jacrev(end)(1.0), expected, rtol=1e-6)


def test_batches_equal_single_solves_and_one_failure_harms_none():
    model = models.growth()
    alphas = jnp.array([0.1, 500.0, 0.7])

    def end(alpha):
        sol = sd.solve(model.replace(alpha=alpha), t1=2.0, saveat=[1.0, 2.0], max_steps=300)
        return sol.ys[:, 0], sol.ok

    ys, ok = jax.vmap(end)(alphas)
    np.testing.assert_array_equal(ok, [True, False, True])
    for k in (0, 2):
        np.testing.assert_allclose(ys[k], end(float(alphas[k]))[0], rtol=1e-12)
        np.testing.assert_allclose(ys[k], 2.0 * np.exp(alphas[k] * np.array([1.0, 2.0])), rtol=1e-5)
    assert np.isnan(ys[1]).any()


def test_new_values_never_recompile():
    model, count = models.lotka_volterra(), 0

    @jax.jit
    def end(a, x, t1, ts):
        nonlocal count
        count += 1
        return sd.solve(model.replace({"a": a, "x": x}), t1=t1, saveat=ts).ys[-1]

    for k in range(3):
        end(1.5 + 0.1 * k, 1.0 + k, 5.0 + k, jnp.linspace(0, 5, 4))
    assert count == 1
    from symdeq.solve.problem import _compiled_run

    sd.solve(model, t1=5.0, saveat=np.linspace(0, 5, 4))
    before = _compiled_run._cached._cache_size()  # pyright: ignore
    for k in range(3):
        sd.solve(model.replace(a=1.5 + 0.1 * k), t1=5.0 + k, saveat=np.linspace(0.1, 5, 4), rtol=10.0 ** (-5 - k))
    assert _compiled_run._cached._cache_size() == before  # pyright: ignore


NAMED = ["auto", "forward", "reverse", "checkpointed", "direct", "backsolve"]


@pytest.mark.parametrize("adjoint", NAMED)
def test_one_argument_names_the_way_to_differentiate(adjoint):
    model = models.lotka_volterra()
    ts = np.linspace(0.5, 5.0, 10)

    def loss(values, adjoint):
        changed = model.replace(dict(zip("abcd", values, strict=True)))
        return jnp.sum(sd.solve(changed, t1=5.0, saveat=ts, adjoint=adjoint, rtol=1e-9, atol=1e-9, max_steps=1024).ys)

    expected = jax.jacfwd(lambda v: loss(v, dfx.ForwardMode()))(model.values)
    found = jax.jit(jax.grad(lambda v: loss(v, adjoint)))(model.values)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_few_values_are_differentiated_in_both_modes_and_twice():
    model = models.growth()

    def end(rate):
        return sd.solve(model.replace(alpha=rate), t1=2.0, saveat=[2.0], rtol=1e-10, atol=1e-10, max_steps=512).ys[0, 0]

    u = 2.0 * np.exp(1.4)  # of u' = alpha*u, u(0) = 2, at t = 2
    assert float(jax.jvp(end, (0.7,), (3.0,))[1]) == pytest.approx(3 * 2 * u, rel=1e-7)
    assert float(jax.jacfwd(end)(0.7)) == pytest.approx(2 * u, rel=1e-7)
    assert float(jax.grad(end)(0.7)) == pytest.approx(2 * u, rel=1e-7)
    assert float(jax.hessian(end)(0.7)) == pytest.approx(4 * u, rel=1e-5)
    rates = jnp.array([0.1, 0.7])
    np.testing.assert_allclose(jax.vmap(jax.grad(end))(rates), 4 * np.exp(2 * rates), rtol=1e-7)


def test_few_values_take_columns_and_many_take_the_way_back():
    model = sd.compile(hires.PROBLEM.build())
    ts = np.geomspace(1.0, 321.8, 5)

    def loss(values, adjoint: Any = "auto"):
        changed = model.replace(dict(zip(model.parameters, values, strict=True)))
        return jnp.sum(sd.solve(changed, t1=321.8, saveat=ts, adjoint=adjoint, max_steps=256).ys)

    np.testing.assert_allclose(
        jax.jit(jax.grad(loss))(model.values), jax.jit(jax.jacfwd(lambda v: loss(v, dfx.ForwardMode())))(model.values),
        rtol=1e-8,
    )  # fmt: skip
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (model.values,), (jnp.ones_like(model.values),))


def lorenz_back(t1):
    """The largest difference to the start after a solve to `t1` and back."""
    model = models.lorenz()
    settings = {"rtol": 1e-12, "atol": 1e-12, "max_steps": 20_000}
    there = sd.solve(model, t1=t1, saveat=[t1], **settings)
    back = sd.solve(model, t1=0.0, t0=t1, saveat=[0.0], y0=there.ys[-1], throw=False, **settings)
    return float(np.max(np.abs(np.asarray(back.ys[-1]) - [1.0, 0.0, 0.0])))


def test_lorenz_does_not_run_backwards():
    """Lorenz' equations contract volumes by exp(-13.67 t), so that backwards they magnify errors by as much."""
    assert 1e-9 < lorenz_back(1.0) < 1e-5
    assert 1e-3 < lorenz_back(2.0) < 10
    assert not lorenz_back(5.0) < 10


def test_backsolve_is_warned_of_by_a_measured_round_trip(recwarn):
    settings = {"rtol": 1e-12, "atol": 1e-12, "max_steps": 20_000, "adjoint": "backsolve"}
    chaotic = models.lorenz()
    sigma = chaotic.parameters[0]

    def end(value, t1):
        return jnp.sum(sd.solve(chaotic.replace({sigma: value}), t1=t1, saveat=[t1], **settings).ys)

    jax.grad(end)(10.0, 1.0)
    assert not recwarn
    with pytest.warns(sd.SymdeqWarning, match="comes back to"):
        jax.grad(end)(10.0, 2.0)
    with pytest.warns(sd.SymdeqWarning, match="backwards from t = 100: that stops at"):
        jax.grad(end)(10.0, 100.0)
    with pytest.warns(sd.SymdeqWarning, match="`rober` cannot be solved backwards"):
        sd.solve(models.rober(), t1=100.0, saveat=[100.0], adjoint=dfx.BacksolveAdjoint())
