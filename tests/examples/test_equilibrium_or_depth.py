"""An equilibrium beside explicit networks: equal parameters, what they read, and memory that grows or does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import equilibrium_or_depth as example


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    output = tmp_path_factory.mktemp("output") / "new"
    found = example.main(output, epochs=8, counts=(8, 32, 128))
    assert (output / "equilibrium_or_depth.png").read_bytes().startswith(b"\x89PNG")
    return found


def test_all_three_have_as_many_parameters_and_read(run):
    assert set(run.parameters.values()) == {2 * (64 * 64 + 64) + 64 * 10 + 10}
    assert all(share > 0.75 for share in run.accuracy.values())


def test_memory_of_the_gradient_grows_with_unrolled_steps_alone(run):
    flat, growing = run.memory["equilibrium"], run.memory["unrolled"]
    assert np.ptp(flat) < 0.01 * flat[0]
    # From 8 to 32 steps and from 32 to 128: four times the growth, and at least the states of a batch for each step.
    assert growing[2] - growing[1] == pytest.approx(4 * (growing[1] - growing[0]), rel=0.1)
    assert growing[2] - growing[0] >= 120 * example.BATCH * example.WIDTH * 4
    assert growing[2] > 2 * flat[2]


def test_one_more_unrolled_step_is_one_more_application_of_the_cell():
    key, image = jax.random.key(3), jnp.asarray(example.read().images[0])
    network = example.unrolled(key, 3)
    z = jnp.zeros(example.WIDTH, jnp.float32)
    for _ in range(3):
        z = network.body.cell(z, image)
    np.testing.assert_allclose(network(image), network.last(z), rtol=1e-5, atol=1e-6)
