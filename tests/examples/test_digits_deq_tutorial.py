"""Row 43: the tutorials' loop on digits, from fixed depth to the equilibrium, with both skips, on a short training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from examples import digits_deq_tutorial as example


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[bool, example.Run]:
    output = tmp_path_factory.mktemp("output") / "new"
    found = example.main(output)
    assert (output / "digits_deq_tutorial.png").read_bytes().startswith(b"\x89PNG")
    return found


@pytest.mark.parametrize("reduced", [False, True])
def test_both_learn_to_read_and_search_less_from_their_own_start(runs, reduced):
    run = runs[reduced]
    assert [len(losses) for losses in run.losses] == [42, 168]
    assert run.losses[0][0] == pytest.approx(np.log(10), abs=0.5)  # knows nothing
    assert run.trained.accuracy > 0.85
    assert run.trained.accuracy > run.pretrained.accuracy
    assert run.trained.nfe < run.pretrained.nfe  # after depth 5 the cell has not been asked to rest
    assert run.trained.nfe < run.trained.nfe_from_zeros
    assert run.trained.distance < run.trained.distance_from_zeros


def test_the_reduced_state_saves_the_weights_of_the_start(runs):
    sizes = {
        reduced: sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(run.network, eqx.is_array)))
        for reduced, run in runs.items()
    }
    assert sizes[False] - sizes[True] == 8 * 8 * 9 + 8


def test_the_loss_at_depth_five_is_that_by_hand(runs):
    network, digits = runs[False].network, example.read()
    images, labels = jnp.asarray(digits.images[:2]), jnp.asarray(digits.labels[:2])

    def by_hand(image, label):
        x = network.features(image)
        start = network.deq.init(x)
        z = start
        for _ in range(5):
            z = network.deq.cell(z, x)
        entropy = optax.softmax_cross_entropy_with_integer_labels(network.last(z.reshape(-1)), label)
        return entropy + 0.01 * jnp.mean((z - start) ** 2)

    expected = np.mean([by_hand(*pair) for pair in zip(images, labels, strict=True)])
    assert float(example.loss_at_depth(network, (images, labels))) == pytest.approx(float(expected), rel=1e-4)
