"""Row 26: a thousand steps to the layer that doubles, its way to rest, and its gradient, all against closed forms."""

import contextlib
import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import doubling as example


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    output = tmp_path_factory.mktemp("output") / "new"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = example.main(output)
    for part in ("Training: 1000 steps", "x = -5 leads to -", "over the last tenth of t = 0 .. 100"):
        assert part in printed.getvalue()
    assert (output / "doubling.png").read_bytes().startswith(b"\x89PNG")
    return found


def test_it_doubles_where_it_was_not_trained(run):
    assert len(run.training.losses) == 1000
    assert run.training.losses[0] > 100
    assert run.training.losses[-1] < 1e-6  # what the search's tolerance of 1e-4 leaves: (1e-4 / (1 - 2/3))^2 = 9e-8
    assert run.outside == pytest.approx(-10.0, abs=0.01)
    slope, intercept = run.training.module.cell.line()
    assert slope == pytest.approx(2 / 3, abs=1e-3)
    assert intercept == pytest.approx(0.0, abs=1e-3)
    xs = np.linspace(-10.0, 12.0, 45)[:, None]
    np.testing.assert_allclose(example.equilibria(run.training.module, xs), 2 * xs, rtol=2e-3, atol=1e-2)


def test_the_trajectory_levels_off_as_its_exponential_does(run):
    assert np.ptp(run.ways[:, -len(example.TIMES) // 10 :], axis=1).max() < 1e-2
    slope, intercept = run.training.module.cell.line()
    start = slope * example.FOLLOWED + intercept
    rest = start / (1 - slope)
    np.testing.assert_allclose(run.ways, rest + (start - rest) * np.exp(-(1 - slope) * example.TIMES), atol=1e-4)


def test_its_gradient_is_that_of_the_closed_form(run):
    inputs = jnp.asarray(example.INPUTS)

    def closed(deq):
        """The loss by the equilibrium of a line, (a x + b) / (1 - a)."""
        intercept = deq.cell.net(jnp.zeros(1))
        slope = deq.cell.net(jnp.ones(1)) - intercept
        return jnp.mean(((slope * inputs + intercept) / (1 - slope) - 2 * inputs) ** 2)

    found = eqx.filter_jit(eqx.filter_grad(example.loss))(run.before, inputs)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(eqx.filter_grad(closed)(run.before)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)  # the equilibrium itself is found to 1e-4
