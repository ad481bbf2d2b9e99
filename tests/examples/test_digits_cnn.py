"""The neural differential equation inside a convolutional network, in equinox and in flax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from examples import digits_cnn as example


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("output") / "new"
    return *example.main(output), output / "digits_cnn.png"


def test_more_than_nine_of_ten_held_out_digits_are_recognised(run):
    training, shares, figure = run
    assert training.losses[0] == pytest.approx(np.log(10), abs=0.3)  # knows nothing
    assert training.losses[-21:].mean() < 0.15
    assert len(shares) == 41
    assert shares[0] < 0.3
    assert shares[-1] > 0.9
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(figure.read_bytes()) > 20_000


def test_a_trained_network_is_its_layers_around_the_solution_by_scipy(run):
    network, images = run[0].module, example.read().held_images[:3]
    net = eqx.filter_jit(network.ode.network)
    for image, logits in zip(images, jax.vmap(network)(images), strict=True):
        features = network.features(image)
        end = scipy.integrate.solve_ivp(lambda t, u: np.asarray(net(u)), (0, 1), features, rtol=1e-8, atol=1e-10).y[
            :, -1
        ]
        np.testing.assert_allclose(network.ode(features), end, atol=0.02)
        np.testing.assert_allclose(logits, network.last(jnp.asarray(end)), atol=0.1)


def test_in_flax_it_is_the_same_network_and_learns():
    nnx = pytest.importorskip("flax.nnx")
    from examples import digits_cnn_flax as in_flax

    network, digits = example.Classifier(jax.random.key(0)), example.read()
    other = in_flax.Classifier(nnx.Rngs(0))
    for theirs, ours in zip(other.convolutions, network.convolutions, strict=True):
        theirs.kernel[...] = ours.weight.transpose(2, 3, 1, 0)
        assert theirs.bias is not None
        assert ours.bias is not None
        theirs.bias[...] = ours.bias.reshape(-1)
    # Flax puts channels last: its features are ours in another order, and so are the rows and columns of the weights.
    order = jnp.arange(32).reshape(8, 2, 2).transpose(1, 2, 0).reshape(-1)
    inner, outer = network.ode.network.layers
    weights = {
        "layers.0.weight": inner.weight[:, order],
        "layers.0.bias": inner.bias,
        "layers.1.weight": outer.weight[order],
        "layers.1.bias": outer.bias[order],
    }
    assert set(other.ode.network) == set(weights)
    for place, value in weights.items():
        other.ode.network[place][...] = value
    other.last.kernel[...] = network.last.weight[:, order].T
    assert other.last.bias is not None
    other.last.bias[...] = network.last.bias
    images = jnp.asarray(digits.held_images[:20])
    np.testing.assert_allclose(other(images), jax.vmap(network)(images), rtol=1e-6, atol=1e-8)

    losses = in_flax.train(other, digits.batches(epochs=12))
    assert losses[0] == pytest.approx(np.log(10), abs=0.3)
    assert np.mean(losses[-21:]) < 0.5
    read = jnp.argmax(other(jnp.asarray(digits.held_images)), axis=-1)
    assert float(jnp.mean(read == digits.held_labels)) > 0.8
