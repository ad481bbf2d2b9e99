"""The same code on an accelerator: `pytest -m gpu`. What can be told without one is tested everywhere."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import symdeq as sd
from tests import models
from tests.zoo import hires


def node() -> sd.NeuralODE:
    network = eqx.nn.MLP(2, 2, 50, 1, activation=jnp.tanh, key=jax.random.key(0))
    return sd.NeuralODE(network, t1=1.0, saveat=np.linspace(0.1, 1.0, 4))


def lotka_volterra(values):
    changed = models.lotka_volterra().replace(dict(zip("abcd", values, strict=True)))
    return sd.solve(changed, t1=5.0, saveat=jnp.linspace(0.5, 5.0, 10), throw=False).ys


def stiff(values):
    model = STIFF
    changed = model.replace(dict(zip(model.parameters, values, strict=True)))
    return sd.solve(changed, t1=321.8122, saveat=jnp.array([1.0, 321.8122]), throw=False).ys


STIFF = sd.compile(hires.PROBLEM.build())
PROGRAMS = {
    "switching": (lotka_volterra, models.lotka_volterra().values),
    "stiff": (stiff, STIFF.values),
    "neural": (lambda u: node()(u), jnp.array([1.0, 0.5])),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("differentiated", [False, True])
def test_no_program_calls_back_to_the_host(name, differentiated):
    program, argument = PROGRAMS[name]
    function = jax.grad(lambda v: jnp.sum(program(v))) if differentiated else program
    text = jax.jit(function).lower(argument).as_text()
    assert "callback" not in text
    assert "infeed" not in text
    assert "outfeed" not in text


@pytest.mark.gpu
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients_on_the_device_agree_with_the_cpu(name):
    program, argument = PROGRAMS[name]
    values = {}
    for platform in ("cpu", "gpu"):
        device = jax.devices(platform)[0]
        with jax.default_device(device):
            given = jax.device_put(argument, device)
            compiled = jax.jit(lambda v: (program(v), jax.grad(lambda v: jnp.sum(program(v)))(v)))
            compiled(given)
            with jax.transfer_guard("disallow"):  # whatever the compiled program needs is on the device
                result = jax.block_until_ready(compiled(given))
            assert all(leaf.devices() == {device} for leaf in result)
            values[platform] = jax.tree.map(np.asarray, result)
    for found, expected in zip(values["gpu"], values["cpu"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.gpu
def test_lanes_on_the_device_against_scipy():
    rates = np.linspace(0.5, 2.0, 64)
    found = sd.ensemble(models.lotka_volterra(), {"a": rates}, t1=5.0, saveat=[5.0], rtol=1e-8, atol=1e-10)
    for i in (0, 31, 63):
        expected = scipy.integrate.solve_ivp(
            lambda t, y, a=rates[i]: [a * y[0] - y[0] * y[1], -3 * y[1] + y[0] * y[1]],
            (0.0, 5.0), [1.0, 1.0], rtol=1e-10, atol=1e-12,
        ).y[:, -1]  # fmt: skip
        np.testing.assert_allclose(np.asarray(found.ys)[i, 0], expected, rtol=1e-6)


@pytest.mark.gpu
def test_a_batch_of_neural_solves_on_the_device_against_diffrax():
    layer = node()
    starts = jax.random.normal(jax.random.key(1), (256, 2))
    found = jax.jit(jax.vmap(layer))(starts)
    network = layer.network

    def by_hand(start):
        return dfx.diffeqsolve(
            dfx.ODETerm(lambda t, u, _: network(u)), dfx.Tsit5(), 0.0, 1.0, 0.01, start,
            saveat=dfx.SaveAt(ts=jnp.linspace(0.1, 1.0, 4)), stepsize_controller=dfx.PIDController(1e-9, 1e-9),
        ).ys  # fmt: skip

    np.testing.assert_allclose(found, jax.jit(jax.vmap(by_hand))(starts), rtol=1e-4, atol=1e-5)
