"""The equation inside a dense network: what it computes, against SciPy, and that it learns to read."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate

from examples import digits_mlp as example


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("output") / "new"
    return *example.main(output), output / "digits_mlp.png"


def test_more_than_nine_of_ten_held_out_digits_are_recognised(run):
    training, shares, figure = run
    assert training.losses[0] == pytest.approx(np.log(10), abs=0.5)  # knows nothing
    assert training.losses[-21:].mean() < 0.1
    assert len(shares) == 26
    assert shares[0] < 0.3
    assert shares[-1] > 0.9
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(figure.read_bytes()) > 20_000


def test_a_trained_network_is_its_layers_around_the_solution_by_scipy(run):
    network, image = run[0].module, example.read().held_images[0]
    a, b, c, d, *start = values = np.asarray(network.values(image))
    assert np.all(np.abs(np.log(values / example.NOMINAL)) < 1)
    solution = scipy.integrate.solve_ivp(
        lambda t, u: [a * u[0] - b * u[0] * u[1], -c * u[1] + d * u[0] * u[1]],
        (0, 2), start, t_eval=example.TIMES, rtol=1e-9, atol=1e-12,
    ).y.T  # fmt: skip
    np.testing.assert_allclose(network.ode(values), np.log(solution), atol=0.05)
    np.testing.assert_allclose(network(image), network.last(jnp.log(solution).reshape(-1)), atol=0.2)


def test_a_batch_is_its_images_one_by_one_and_its_gradient_that_of_diffrax_by_hand():
    network, digits = example.Classifier(jax.random.key(3)), example.read()
    batch = jnp.asarray(digits.images[:5]), jnp.asarray(digits.labels[:5])
    one_by_one = jnp.stack([network(image) for image in batch[0]])
    np.testing.assert_allclose(jax.vmap(network)(batch[0]), one_by_one, rtol=1e-6, atol=1e-9)

    def rhs(t, u, p):
        return jnp.stack([p[0] * u[0] - p[1] * u[0] * u[1], -p[2] * u[1] + p[3] * u[0] * u[1]])

    def by_hand(network, image):
        values = network.values(image)
        populations: Any = dfx.diffeqsolve(
            dfx.ODETerm(rhs), dfx.Tsit5(), 0.0, 2.0, 0.01, values[4:], values[:4], max_steps=1024,
            saveat=dfx.SaveAt(ts=jnp.asarray(example.TIMES)),
            stepsize_controller=dfx.PIDController(rtol=1e-8, atol=1e-10),
        ).ys  # fmt: skip
        return network.last(jnp.log(populations).reshape(-1))

    def loss_by_hand(network):
        logits = jax.vmap(lambda image: by_hand(network, image))(batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    found = eqx.filter_jit(eqx.filter_grad(example.loss))(network, batch)
    expected = eqx.filter_jit(eqx.filter_grad(loss_by_hand))(network)
    for layer in ("first", "second", "last"):
        ours, theirs = getattr(found, layer).weight, getattr(expected, layer).weight
        # To what the tolerance of the layer allows.
        assert float(jnp.linalg.norm(ours - theirs)) < 1e-2 * float(jnp.linalg.norm(theirs)), layer
