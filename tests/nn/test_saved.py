"""Layers saved and loaded, also in a fresh process, and exported as programs."""

import subprocess
import sys
from pathlib import Path

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import symdeq as sd
from symdeq import D, Eq

ROOT = Path(__file__).parents[2]


def mlp(size: int = 2, seed: int = 0) -> eqx.nn.MLP:
    return eqx.nn.MLP(size, size, 8, 1, activation=jnp.tanh, key=jax.random.key(seed))


def layer() -> sd.ODELayer:
    x, y = sd.states(x=1.0, y=1.0)
    (a,) = sd.parameters(a=0.5)
    net = sd.Neural("net", mlp())
    u = net(x, y)
    model = sd.compile(sd.System([Eq(D(x), a * x + u[0]), Eq(D(y), u[1] - y)], name="mixed"))
    return sd.ODELayer(model, [a, x], [x, x * y, u[0]], t1=2 * a, saveat=None, rtol=1e-7, solver=sd.Rodas5P())


FRESH = """
import sys, jax, numpy as np
jax.config.update("jax_enable_x64", True)
import symdeq as sd
layer = sd.load(sys.argv[1])
np.save(sys.argv[2], np.asarray(layer(np.load(sys.argv[3]))))
"""


@pytest.mark.parametrize("kind", ["layer", "node"])
def test_a_layer_in_a_fresh_process_gives_the_same_bits(kind, tmp_path):
    if kind == "layer":
        saved, vector = layer(), np.array([0.4, 1.3])
    else:
        saved = sd.NeuralODE(mlp(3), t1=1.0, saveat=np.linspace(0.1, 1.0, 4), augment=1, solver=dfx.Tsit5())
        vector = np.array([0.4, 1.3])
    sd.save(saved, tmp_path / "layer.symdeq")
    np.save(tmp_path / "vector.npy", vector)
    files = [tmp_path / name for name in ("layer.symdeq", "out.npy", "vector.npy")]
    subprocess.run([sys.executable, "-c", FRESH, *map(str, files)], check=True, cwd=ROOT, timeout=300)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.asarray(saved(vector)))


def test_settings_come_back(tmp_path):
    saved = layer()
    sd.save(saved, tmp_path / "layer.symdeq")
    read = sd.load(tmp_path / "layer.symdeq")
    assert (read.inputs, read.t1, read.rtol, read.max_steps) == (saved.inputs, saved.t1, saved.rtol, saved.max_steps)
    assert isinstance(read.solver, sd.Rodas5P)
    node = sd.NeuralODE(mlp(), t1=1.0, trace="exact", adjoint="checkpointed")
    sd.save(node, tmp_path / "node.symdeq")
    read = sd.load(tmp_path / "node.symdeq")
    assert (read.trace, read.layer.adjoint, read.in_size, read.out_size) == ("exact", "checkpointed", 2, 3)


def test_a_network_of_ones_own_needs_its_function(tmp_path):
    class Cubic(eqx.Module):
        weight: jax.Array

        def __call__(self, u):
            return self.weight @ u**3

    node = sd.NeuralODE(Cubic(jnp.array([[-0.1, 2.0], [-2.0, -0.1]])), t1=0.5, size=2)
    sd.save(node, tmp_path / "node.symdeq")
    with pytest.raises(sd.ModelError, match="network"):
        sd.load(tmp_path / "node.symdeq")
    read = sd.load(tmp_path / "node.symdeq", networks={"network": lambda: Cubic(jnp.zeros((2, 2)))})
    np.testing.assert_array_equal(read(np.array([2.0, 0.0])), node(np.array([2.0, 0.0])))


def test_a_solver_with_settings_of_its_own_is_refused(tmp_path):
    node = sd.NeuralODE(mlp(), t1=1.0, solver=sd.BDF(max_order=2))
    with pytest.raises(sd.UnsupportedError, match="solver of a layer"):
        sd.save(node, tmp_path / "node.symdeq")
    assert not (tmp_path / "node.symdeq").exists()


def test_a_compiled_layer_is_exported_as_a_program():
    saved = layer()
    program = export.export(jax.jit(lambda v: saved(v)))(jax.ShapeDtypeStruct((2,), jnp.float64))
    read = export.deserialize(program.serialize())
    vector = jnp.array([0.4, 1.3])
    np.testing.assert_array_equal(read.call(vector), jax.jit(lambda v: saved(v))(vector))


class Squeezed(eqx.Module):
    weight: jax.Array

    def __call__(self, z, x):
        return jnp.tanh(self.weight @ z + x)


def test_a_deq_over_a_cell(tmp_path):
    weight = 0.3 * jax.random.normal(jax.random.key(0), (3, 3))
    deq = sd.DEQ(Squeezed(weight), sd.Broyden(), "skip-reg", atol=1e-5)
    sd.save(deq, tmp_path / "deq.symdeq")
    loaded = sd.load(tmp_path / "deq.symdeq", networks={"cell": Squeezed(jnp.zeros((3, 3)))})
    x = jnp.array([0.3, -1.0, 2.0])
    np.testing.assert_array_equal(loaded(x), deq(x))
    assert (loaded.atol, loaded.init, type(loaded.solver)) == (1e-5, "skip-reg", sd.Broyden)
    with pytest.raises(sd.UnsupportedError, match="solver"):
        sd.save(sd.DEQ(Squeezed(weight), sd.Anderson(memory=2)), tmp_path / "other.symdeq")


def test_a_deq_over_a_model(tmp_path):
    x, k = sd.state("x", 1.0), sd.parameter("k", 2.0)
    deq = sd.DEQ(sd.compile(sd.System([sd.Eq(sd.D(x), k - x**3)], name="root")), inputs=[k], outputs=[2 * x])
    sd.save(deq, tmp_path / "rest.symdeq")
    loaded = sd.load(tmp_path / "rest.symdeq")
    np.testing.assert_allclose(loaded(jnp.array([8.0])), [4.0], rtol=1e-8)
    assert repr(loaded) == repr(deq)
