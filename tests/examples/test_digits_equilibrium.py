"""Row 27: digits by a deep equilibrium on a short training: read, at rest, and with classes further apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from examples import digits_equilibrium as example


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    output = tmp_path_factory.mktemp("output") / "new"
    found = example.main(output, epochs=10)
    assert (output / "digits_equilibrium.png").read_bytes().startswith(b"\x89PNG")
    return found


def test_held_out_digits_are_read_and_their_classes_separate(run):
    assert run.training.losses[0] == pytest.approx(np.log(10), abs=0.5)  # knows nothing
    assert run.accuracy > 0.85
    pixels, features = run.separation
    assert pixels == pytest.approx(0.158, abs=1e-3)
    assert features > 1.5 * pixels
    assert run.evaluations < 20


def test_a_trained_layer_is_near_the_root_that_scipy_finds(run):
    network, image = run.training.module, example.read().held_images[0]
    x = network.first(image)
    z = network.deq(x, key=jax.random.key(0))
    cell, norm = network.deq.cell, jnp.linalg.norm
    residual = jax.jit(lambda z: cell(z.astype(jnp.float32), x) - z.astype(jnp.float32))
    assert float(jnp.max(jnp.abs(residual(z)))) <= example.TOLERANCE
    exact = scipy.optimize.root(residual, np.asarray(z, float), tol=1e-5).x
    assert float(jnp.max(jnp.abs(residual(jnp.asarray(exact))))) < 1e-3
    # The distance from the root is at most the residual by the least singular value of the Jacobian, to first order.
    least = jnp.linalg.svd(jax.jacfwd(residual)(jnp.asarray(exact)), compute_uv=False)[-1]
    assert norm(z - exact) < 2 * norm(residual(z)) / least
