"""`symdeq.flax` in flax nnx: variables, `nnx.jit`, `nnx.grad`, `nnx.Optimizer`, against the equinox layers."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symdeq as sd
from symdeq import D, Eq
from symdeq.model import Neural
from symdeq.nn import NeuralODE, ODELayer
from tests import models

nnx = pytest.importorskip("flax.nnx")
sdf = pytest.importorskip("symdeq.flax")


def test_it_trains_the_values_of_a_model_with_one_compilation():
    model = models.lotka_volterra().replace(a=2.2, c=2.0, d=0.4)
    layer = sdf.ODELayer(model, inputs=[], outputs=["x"], t1=10.0, saveat=0.1, max_steps=512)
    variables = nnx.to_flat_state(nnx.state(layer, nnx.Param))
    assert {".".join(map(str, path)): v.shape for path, v in variables} == {"parameters": (4,), "initial": (2,)}
    optimiser = nnx.Optimizer(layer, optax.adam(0.1), wrt=nnx.Param)
    traced = 0

    @nnx.jit
    def step(layer, optimiser):
        nonlocal traced
        traced += 1
        value, gradient = nnx.value_and_grad(lambda layer: jnp.sum((layer() - 1) ** 2))(layer)
        optimiser.update(layer, gradient)
        return value

    losses = [float(step(layer, optimiser)) for _ in range(40)]
    assert traced == 1
    assert losses[0] == pytest.approx(4324.598, rel=1e-5)
    assert losses[-1] < losses[0] / 10
    trained = layer.layer  # the equinox layer with what was learned
    assert isinstance(trained, ODELayer)
    np.testing.assert_array_equal(trained.model.values, layer.parameters[...])
    np.testing.assert_allclose(trained(), layer())


class Network(nnx.Module):
    """Rows 6 and 7 in flax: a convolution, dense layers, and an equation between them."""

    def __init__(self, model, rngs):
        self.convolution = nnx.Conv(1, 4, (2, 2), rngs=rngs)
        self.first = nnx.Linear(4, 6, rngs=rngs)
        self.ode = sdf.ODELayer(model, inputs=["a", "b", "c", "d", "x", "y"], outputs=["x", "y"], t1=1.0, max_steps=64)
        self.last = nnx.Linear(2, 3, rngs=rngs)

    def __call__(self, images):
        z = nnx.relu(self.convolution(images)).mean(axis=(1, 2))
        return self.last(jax.vmap(self.ode)(nnx.softplus(self.first(z))))


def test_inside_a_network_its_gradient_is_that_of_the_equinox_layer():
    network = Network(models.lotka_volterra(), nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(1), (5, 8, 8, 1))
    assert network(images).shape == (5, 3)
    gradient = nnx.jit(nnx.grad(lambda n: jnp.sum(n(images) ** 2)))(network)
    z = nnx.softplus(network.first(nnx.relu(network.convolution(images)).mean(axis=(1, 2))))
    kernel, bias = network.last.kernel[...], network.last.bias[...]

    def rest(layer, z):
        return jnp.sum((jax.vmap(layer)(z) @ kernel + bias) ** 2)

    by_z = jax.grad(rest, argnums=1)(network.ode.layer, z)
    h = nnx.relu(network.convolution(images)).mean(axis=(1, 2))
    by_bias = (by_z * jax.nn.sigmoid(network.first(h))).sum(axis=0)
    np.testing.assert_allclose(gradient["first"]["bias"][...], by_bias, rtol=1e-4, atol=1e-5)


def test_networks_inside_equations_are_params():
    net = Neural("net", eqx.nn.MLP(2, 1, 8, 1, activation=jnp.tanh, key=jax.random.key(0)))
    x, y = sd.states(x=1.0, y=1.0)
    a = sd.parameter("a", 1.5)
    model = sd.compile(sd.System([Eq(D(x), a * x - net(x, y)[0]), Eq(D(y), -y + x)], name="hybrid"))
    layer = sdf.ODELayer(model, inputs=["x", "y"], outputs=["x", "y"], t1=0.5, max_steps=64)
    shapes = {".".join(map(str, path)): v.shape for path, v in nnx.to_flat_state(nnx.state(layer, nnx.Param))}
    assert shapes["networks.0.layers.0.weight"] == (8, 2)
    assert len(shapes) == 6
    vector = jnp.array([1.0, 2.0])
    plain = ODELayer(model, inputs=["x", "y"], outputs=["x", "y"], t1=0.5, max_steps=64)
    np.testing.assert_array_equal(layer(vector), plain(vector))
    gradient = nnx.grad(lambda layer: jnp.sum(layer(vector)))(layer)
    expected = eqx.filter_grad(lambda layer: jnp.sum(layer(vector)))(plain)
    found = gradient["networks"]["0.layers.0.weight"][...]
    np.testing.assert_allclose(found, expected.model.networks[0].layers[0].weight, rtol=1e-8)
    np.testing.assert_allclose(gradient["parameters"][...], expected.model.values, rtol=1e-8)


def test_neural_ode():
    mlp = eqx.nn.MLP(2, 2, 8, 1, activation=jnp.tanh, key=jax.random.key(0))
    node, plain = (kind(mlp, t1=1.0, max_steps=64) for kind in (sdf.NeuralODE, NeuralODE))
    u0 = jnp.array([2.0, 0.0])
    np.testing.assert_array_equal(node(u0), plain(u0))
    state = nnx.state(node, nnx.Param)
    assert {".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)} == {
        f"network.layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }
    gradient = nnx.jit(nnx.grad(lambda node: jnp.sum(node(u0))))(node)
    expected = eqx.filter_grad(lambda node: jnp.sum(node(u0)))(plain).network.layers[1].bias
    np.testing.assert_allclose(gradient["network"]["layers.1.bias"][...], expected, rtol=1e-8)


def test_without_flax_the_extra_is_named():
    code = "import sys; sys.modules['flax'] = None; import symdeq.flax"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "pip install 'symdeq[flax]'" in ended.stderr
