"""`NeuralSDE` against closed forms along the same Brownian path, and its gradients."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symdeq as sd
from symdeq.nn.neural_sde import NeuralSDE


class Times(eqx.Module):
    """u -> rate * u."""

    rate: jax.Array

    def __call__(self, u):
        return self.rate * u


def geometric(a=0.5, s=0.4, **options):
    return NeuralSDE(Times(jnp.array(a)), Times(jnp.array(s)), **{"t1": 1.0, "rtol": 1e-3, "atol": 1e-4, **options})


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_geometric_brownian_motion_along_its_path(calculus):
    """u(t) = u0 exp((a - s^2/2) t + s W(t)) by Itô, u0 exp(a t + s W(t)) by Stratonovich."""
    ts = np.array([0.1, 0.35, 1.0])
    sde = geometric(saveat=ts, calculus=calculus)
    correction = 0.4**2 / 2 if calculus == "ito" else 0.0

    @jax.jit
    @jax.vmap
    def errors(key):
        path: Any = jax.vmap(lambda t: sde.path(2, key).evaluate(0.0, t))(jnp.asarray(ts))
        exact = jnp.array([1.0, 2.0]) * jnp.exp((0.5 - correction) * ts[:, None] + 0.4 * path)
        return jnp.max(jnp.abs(sde(jnp.array([1.0, 2.0]), key=key) / exact - 1))

    found = errors(jax.random.split(jax.random.key(0), 32))
    assert float(jnp.sqrt(jnp.mean(found**2))) < 0.01


def test_moments_of_an_ornstein_uhlenbeck_process():
    class Pull(eqx.Module):
        def __call__(self, u):
            return -u

    class Constant(eqx.Module):
        def __call__(self, u):
            return jnp.full_like(u, 0.5)

    sde = NeuralSDE(Pull(), Constant(), t1=2.0)
    keys = jax.random.split(jax.random.key(1), 4000)
    ends = jax.jit(jax.vmap(lambda key: sde(jnp.ones(1), key=key)))(keys)[:, 0]
    variance = 0.25 * (1 - np.exp(-4)) / 2
    assert float(ends.mean()) == pytest.approx(np.exp(-2), abs=4 * np.sqrt(variance / 4000))
    assert float(ends.var()) == pytest.approx(variance, rel=4 * np.sqrt(2 / 4000))


def test_gradients_follow_the_path():
    """d u(1) / d a = u(1) of geometric Brownian motion, along any path."""
    key = jax.random.key(2)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def end(sde):
        return sde(jnp.ones(1), key=key)[0]

    value, gradient = end(geometric())
    assert float(gradient.drift.rate) == pytest.approx(float(value), rel=2e-2)
    path: Any = geometric().path(1, key).evaluate(0.0, 1.0)
    w = float(path[0])
    assert float(gradient.diffusion.rate) == pytest.approx(float(value) * (w - 0.4), rel=5e-2, abs=2e-2)


def test_equal_keys_give_equal_paths_and_networks_train():
    key = jax.random.key(3)
    networks = [eqx.nn.MLP(2, 2, 8, 1, activation=jnp.tanh, key=k) for k in jax.random.split(key)]
    sde = NeuralSDE(*networks, t1=1.0, saveat=[0.2, 0.9, 1.0], rtol=0.1, atol=0.01)
    u0 = jnp.array([0.5, -0.5])
    assert sde(u0, key=key).shape == (3, 2)
    np.testing.assert_array_equal(sde(u0, key=key), sde(u0, key=key))
    keys = jax.random.split(key, 8)

    def loss(sde):
        return jnp.mean((jax.vmap(lambda k: sde(u0, key=k))(keys) - 1.0) ** 2)

    trained = sd.train(sde, loss, steps=30, progress=False)
    assert trained.losses[-1] < 0.7 * trained.losses[0]


def test_fixed_steps_and_failures():
    key = jax.random.key(4)
    euler = geometric(solver=dfx.Euler(), max_steps=512)
    path: Any = euler.path(1, key).evaluate(0.0, 1.0)
    w = float(path[0])
    assert float(euler(jnp.ones(1), key=key)[0]) == pytest.approx(np.exp(0.42 + 0.4 * w), rel=0.05)
    with pytest.raises(sd.SolveError, match="did not reach"):
        geometric(max_steps=3)(jnp.ones(1), key=key)
    assert np.isnan(jax.jit(lambda k: geometric(max_steps=3)(jnp.ones(1), key=k))(key)).all()
    for build, part in (
        (lambda: NeuralSDE(1.0, Times(jnp.ones(()))), "drift"),
        (lambda: geometric(calculus="both"), "calculus"),
        (lambda: geometric(t1=-1.0), "forward"),
        (lambda: geometric(saveat=[0.5, 2.0]), "saveat"),
        (lambda: geometric()(jnp.ones((2, 2)), key=key), "vector"),
    ):
        with pytest.raises(sd.ModelError) as caught:
            build()
        assert part in str(caught.value)
