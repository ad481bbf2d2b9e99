"""The layers as flax nnx modules, whose arrays are `nnx.Param`: see `symdeq.flax`."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
from flax import nnx
from jaxtyping import Array

from symdeq.compiled import Model
from symdeq.nn import layer as equinox_layer
from symdeq.nn import neural_ode as equinox_node
from symdeq.nn.neural_ode import Trace
from symdeq.solve import Solution
from symdeq.solve.problem import DEFAULT_MAX_STEPS


@dataclasses.dataclass(frozen=True)
class Frame:
    """A module without its arrays: hashable by value, as flax wants what it does not trace."""

    structure: Any
    rest: tuple[Any, ...]

    def filled(self, arrays: list[Any]) -> Any:
        """The module with arrays in their places, in order."""
        given = iter(arrays)
        leaves = [next(given) if leaf is _ARRAY else leaf for leaf in self.rest]
        return jax.tree.unflatten(self.structure, leaves)


class _Array:
    """Stands where a module has an array."""


_ARRAY = _Array()


def _taken_apart(module: Any) -> tuple[Frame, dict[str, Any]]:
    """A module as its frame and its arrays by their place in it."""
    found, structure = jax.tree_util.tree_flatten_with_path(module)
    arrays = {jax.tree_util.keystr(path, simple=True, separator="."): v for path, v in found if eqx.is_array(v)}
    return Frame(structure, tuple(_ARRAY if eqx.is_array(leaf) else leaf for _, leaf in found)), arrays


def _variable(array: Any) -> Any:
    """What is trained is a `Param`; whole numbers, which cannot be, are not."""
    return nnx.Param(array) if eqx.is_inexact_array(array) else nnx.Variable(array)


class ODELayer(nnx.Module):
    """`symdeq.ODELayer` as a flax module.

    Arguments as of `symdeq.ODELayer`. Its variables are `nnx.Param`s, so that `nnx.grad`, `nnx.Optimizer` and
    `nnx.split` find them:

    - `parameters`: the values of the model's parameters, shape (parameters,), in the order of `model.parameters`.
    - `initial`: its initial values, shape (states,).
    - `networks`: the arrays of its networks, by their place in them.
    """

    def __init__(
        self,
        model: Model,
        inputs: Any,
        outputs: Any,
        t1: Any = None,
        saveat: Any = None,
        *,
        t0: Any = 0.0,
        rtol: Any = None,
        atol: Any = None,
        solver: Any = "auto",
        adjoint: Any = "auto",
        max_steps: int = DEFAULT_MAX_STEPS,
    ):
        layer = equinox_layer.ODELayer(
            model, inputs, outputs, t1, saveat,
            t0=t0, rtol=rtol, atol=atol, solver=solver, adjoint=adjoint, max_steps=max_steps,
        )  # fmt: skip
        self.parameters = nnx.Param(layer.model.values)
        self.initial = nnx.Param(layer.model.start)
        frame, arrays = _taken_apart(layer.model.networks)
        self.networks = nnx.Dict({place: _variable(array) for place, array in arrays.items()})
        self._order = nnx.static(tuple(arrays))
        self._networks = nnx.static(frame)
        self._layer = nnx.static(_taken_apart(layer)[0])

    @property
    def layer(self) -> equinox_layer.ODELayer:
        """The `symdeq.ODELayer` with the present values."""
        return self._layer.filled(
            [self.parameters[...], self.initial[...], *(self.networks[p][...] for p in self._order)]
        )

    def __call__(self, vector: Any = None, *, t0: Any = None, t1: Any = None, saveat: Any = None) -> Array:
        """Outputs for one vector; see `symdeq.ODELayer`."""
        return self.layer(vector, t0=t0, t1=t1, saveat=saveat)

    def solve(self, vector: Any = None, *, t0: Any = None, t1: Any = None, saveat: Any = None) -> Solution:
        """The whole solution for one vector; see `symdeq.ODELayer`."""
        return self.layer.solve(vector, t0=t0, t1=t1, saveat=saveat)


class NeuralODE(nnx.Module):
    """`symdeq.NeuralODE` as a flax module, of an equinox network or any other PyTree that can be called.

    Arguments as of `symdeq.NeuralODE`. The arrays of the network are `nnx.Param`s in `network`, by their place in it.
    """

    def __init__(
        self,
        network: Any,
        t1: Any = None,
        saveat: Any = None,
        *,
        t0: Any = 0.0,
        size: int | None = None,
        augment: int = 0,
        time: bool = False,
        trace: Trace | None = None,
        rtol: Any = None,
        atol: Any = None,
        solver: Any = "auto",
        adjoint: Any = "auto",
        max_steps: int = DEFAULT_MAX_STEPS,
    ):
        node = equinox_node.NeuralODE(
            network, t1, saveat, t0=t0, size=size, augment=augment, time=time, trace=trace,
            rtol=rtol, atol=atol, solver=solver, adjoint=adjoint, max_steps=max_steps,
        )  # fmt: skip
        frame, arrays = _taken_apart(node)
        inside = "layer.model.networks.0."
        self.network = nnx.Dict({p.removeprefix(inside): _variable(a) for p, a in arrays.items() if inside in p})
        self.constants = nnx.Dict({p: nnx.Variable(a) for p, a in arrays.items() if inside not in p})
        self._order = nnx.static(tuple((inside in place, place.removeprefix(inside)) for place in arrays))
        self._node = nnx.static(frame)

    @property
    def node(self) -> equinox_node.NeuralODE:
        """The `symdeq.NeuralODE` with the present values."""
        arrays = [(self.network if trained else self.constants)[place][...] for trained, place in self._order]
        return self._node.filled(arrays)

    def __call__(self, u0: Any, *, t0: Any = None, t1: Any = None, saveat: Any = None, key: Any = None) -> Array:
        """The state for one u0; see `symdeq.NeuralODE`."""
        return self.node(u0, t0=t0, t1=t1, saveat=saveat, key=key)

    def solve(self, u0: Any, *, t0: Any = None, t1: Any = None, saveat: Any = None, key: Any = None) -> Solution:
        """The whole solution for one u0; see `symdeq.NeuralODE`."""
        return self.node.solve(u0, t0=t0, t1=t1, saveat=saveat, key=key)
