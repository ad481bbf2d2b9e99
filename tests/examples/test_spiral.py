"""The spiral: its published data, a gradient equal to that by hand in diffrax, and what a thousand steps reach."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from jax.flatten_util import ravel_pytree

from examples import spiral as example


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    return example.main(tmp_path_factory.mktemp("output") / "new")


def test_the_data_are_those_of_the_spiral(run):
    assert run.data.shape == (30, 2)
    np.testing.assert_allclose(run.data[-1], [1.291992, 0.972586], atol=1e-6)
    matrix = np.array([[-0.1, 2.0], [-2.0, -0.1]])
    by_scipy = scipy.integrate.solve_ivp(
        lambda t, u: matrix.T @ u**3, (0.0, 1.5), example.START, "DOP853", example.TIMES, rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(run.data, by_scipy.y.T, atol=1e-8)


def loss_by_hand(network: Any, data: jax.Array, rtol: float, atol: float) -> jax.Array:
    """Row 19's loss as users of diffrax write it."""
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, u, network: network(u)), dfx.Tsit5(), 0.0, 1.5, None, jnp.array(example.START), network,
        saveat=dfx.SaveAt(ts=jnp.asarray(example.TIMES)), stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol),
        max_steps=4096,
    )  # fmt: skip
    assert solution.ys is not None
    return jnp.sum((solution.ys - data) ** 2)


@pytest.mark.parametrize(
    ("trained", "rtol", "atol"),
    [(False, 1e-7, 1e-9), (True, 1e-10, 1e-12)],
    ids=["at the row's tolerances", "after training"],
)
def test_the_gradient_equals_that_by_hand(run, trained, rtol, atol):
    node = run.training.module if trained else run.before
    other = example.neural_ode(jax.random.key(0), rtol=rtol, atol=atol)
    other = eqx.tree_at(lambda n: n.layer.model.networks, other, node.layer.model.networks)
    gradient = eqx.filter_jit(eqx.filter_grad(example.loss))(other, run.data)
    by_hand = eqx.filter_jit(eqx.filter_grad(loss_by_hand))(node.network, run.data, rtol, atol)
    ours, theirs = (ravel_pytree(eqx.filter(g, eqx.is_array))[0] for g in (gradient.network, by_hand))
    assert len(ours) == 3 * 50 + 51 * 2
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * float(jnp.max(jnp.abs(theirs))))


def test_a_thousand_steps_fit_all_points(run):
    first = loss_by_hand(run.before.network, run.data, 1e-9, 1e-11)
    assert run.training.losses[0] == pytest.approx(float(first), rel=1e-6)
    assert len(run.training.losses) == 1000
    assert run.training.losses[-1] < 0.05  # of 192; 0.002 as measured, and Adam at this rate is rough
    found = run.training.module(jnp.array(example.START))
    assert np.max(np.linalg.norm(found - run.data, axis=1)) < 0.1


def test_it_goes_on_from_a_start_beside_the_data_and_not_from_one_inside(run):
    beside, inside = (run.errors[start] for start in (example.BESIDE, example.INSIDE))
    assert beside.mean() < 0.3
    assert inside.mean() > 1.0


def test_the_script_prints_and_draws(tmp_path, capsys):
    example.main(tmp_path / "new", steps=2)
    printed = capsys.readouterr().out
    for part in ("u(1.5) = (1.291992, 0.972586)", "Training: 2 steps", "beside the data: off by"):
        assert part in printed
    assert (tmp_path / "new" / "spiral.png").read_bytes().startswith(b"\x89PNG")
