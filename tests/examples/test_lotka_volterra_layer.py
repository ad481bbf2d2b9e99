"""The layer of Lotka-Volterra's rates: the published first loss, where training ends, and what it compiles."""

import logging
from pathlib import Path

import jax
import numpy as np
import pytest

from examples import lotka_volterra_layer as example

# Sum of (x - 1)^2 over 101 times at the first rates, by an independent solver at 1e-11.
FIRST_LOSS = 4324.598


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    return example.main(tmp_path_factory.mktemp("output") / "new")


def test_the_first_loss_is_the_published_one(run):
    assert run.training.losses[0] == pytest.approx(FIRST_LOSS, rel=2e-6)
    (rates, populations) = run.recorded
    np.testing.assert_array_equal(rates[0], example.START)
    assert np.sum((populations[0, :, 0] - 1) ** 2) == pytest.approx(FIRST_LOSS, rel=2e-6)


def test_both_populations_end_near_one(run):
    after = np.asarray(run.layer(run.training.module))
    assert after.shape == (101, 2)
    assert run.training.losses[-1] < 1.0
    np.testing.assert_allclose(after, 1.0, atol=0.15)
    alpha, beta, delta, gamma = run.training.module
    np.testing.assert_allclose([delta / gamma, alpha / beta], 1.0, atol=0.1)  # where the two stand still


def test_the_callback_records_every_step_and_the_training_step_compiles_once(run):
    rates, populations = run.recorded
    assert rates.shape == (100, 4)
    assert populations.shape == (100, 101, 2)
    np.testing.assert_allclose(np.sum((populations[:, :, 0] - 1) ** 2, axis=1), run.training.losses, rtol=1e-6)
    assert run.compilations == 1


def test_more_steps_compile_nothing_more(run, tmp_path):
    assert compiled(tmp_path, steps=2) == compiled(tmp_path, steps=20) > 0


def compiled(output: Path, steps: int) -> int:
    """How many programs XLA compiles in a run, the training step and everything else."""
    seen = []
    handler, logger = logging.Handler(), logging.getLogger("jax")
    handler.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            example.main(output, steps=steps)
    finally:
        logger.removeHandler(handler)
    return sum(message.startswith("Finished XLA compilation") for message in seen)


def test_the_script_draws(run, tmp_path, capsys):
    example.main(tmp_path / "new", steps=3)
    printed = capsys.readouterr().out
    assert "step   0  loss  4324.6" in printed
    assert "compilations of the training step: 1" in printed
    assert (tmp_path / "new" / "lotka_volterra_layer.png").read_bytes().startswith(b"\x89PNG")
