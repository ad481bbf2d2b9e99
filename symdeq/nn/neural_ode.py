"""`NeuralODE`: u' = network(u) as a layer."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import wadler_lindig as wl
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq._values import as_array
from symdeq.compiled import compile
from symdeq.model import D, Eq, Neural, System, state, t
from symdeq.nn.flow import ExactTrace, HutchinsonTrace
from symdeq.nn.layer import ODELayer
from symdeq.solve import Solution
from symdeq.solve.problem import DEFAULT_MAX_STEPS

Trace = Literal["exact", "hutchinson"]


class NeuralODE(eqx.Module):
    """A network as the right-hand side of a differential equation: u0 goes in, u(t1) comes out.

    It is an `ODELayer` of one vector state `u` and the equation `D(u) = network(u)`, in the precision of the network's
    arrays, which are what `eqx.filter_grad` differentiates; it works wherever an `ODELayer` does.

    Arguments:

    - `network`: an `eqx.Module`, or another PyTree that can be called, from shape (n,) to shape (n,); with `time` from
        (n + 1,), the time last.
    - `t1`, `saveat`, `t0`, `rtol`, `atol`, `solver`, `adjoint`, `max_steps`: as in `ODELayer`. A `solver` without error
        estimate, such as `diffrax.Euler()`, makes `max_steps` equal steps.
    - `size`: the entries of u0; default from the network's `in_size`.
    - `augment`: so many zeros are put behind u0, which gives the flow room to pass by itself (E. Dupont, A. Doucet,
        Y. W. Teh, Augmented neural ODEs, NeurIPS 2019); the network then works on `size + augment` entries. Default 0.
    - `time`: whether the network takes the time as its last input; default `False`.
    - `trace`: `"exact"` or `"hutchinson"`: as one more output, the change of the log-density along the flow, for
        continuous normalising flows: log p(u(t1)) = log p(u0) + output. `"exact"` costs a product with the Jacobian for
        each entry, `"hutchinson"` one, with a random probe from `key`. Default `None`.

    Raises `ModelError` for a network whose size is not known or does not fit.
    """

    layer: ODELayer
    augment: int = eqx.field(static=True)
    trace: Trace | None = eqx.field(static=True)

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
        if not callable(network):
            raise ModelError(f"NeuralODE needs a network that can be called, not {network!r}.")
        if isinstance(augment, bool) or not isinstance(augment, int | np.integer) or augment < 0:
            raise ModelError(f"augment must be a whole number from 0 on, not {augment!r}.")
        if trace not in (None, "exact", "hutchinson"):
            raise ModelError(f'trace must be None, "exact" or "hutchinson", not {trace!r}.')
        self.augment, self.trace = int(augment), trace
        width = _width(network, size, self.augment, time)
        dtype = _dtype(network)
        block = _with_trace(network, trace, width)
        entries = width + (trace is not None)
        net = Neural("net", block, outputs=entries)
        u = state("u", 0.0, shape=(entries,))
        model = compile(System([Eq(D(u), net(u, t) if time else net(u))], name="neural_ode"))
        self.layer = ODELayer(
            _in_precision(model, dtype),
            inputs=[u],
            outputs=[u],
            t1=t1,
            saveat=saveat,
            t0=t0,
            rtol=rtol,
            atol=atol,
            solver=solver,
            adjoint=adjoint,
            max_steps=max_steps,
        )

    @property
    def network(self) -> Any:
        """The network with its present values."""
        block = self.layer.model.networks[0]
        return block if self.trace is None else block.network

    @property
    def in_size(self) -> int:
        """How many entries u0 has."""
        return self.layer.in_size - self._behind

    @property
    def out_size(self) -> int:
        """How many entries u has: those of u0, the augmented ones, and the change of the log-density."""
        return self.layer.in_size

    @property
    def _behind(self) -> int:
        return self.augment + (self.trace is not None)

    def __call__(self, u0: Any, *, t0: Any = None, t1: Any = None, saveat: Any = None, key: Any = None) -> Array:
        """The state for one u0; batches are `jax.vmap(node)(u0s)`.

        Arguments:

        - `u0`: shape (size,).
        - `t0`, `t1`, `saveat`: as in a call of an `ODELayer`.
        - `key`: a `jax.random.key` for `trace="hutchinson"`; else not used.

        Returns shape (size + augment,), at `t1`, and one more entry with `trace`; with times to save at shape
        (times, size + augment). NaN where the solve failed. Raises as an `ODELayer` does.
        """
        return self._probed(key).layer(self._padded(u0), t0=t0, t1=t1, saveat=saveat)

    def solve(self, u0: Any, *, t0: Any = None, t1: Any = None, saveat: Any = None, key: Any = None) -> Solution:
        """The whole solution, as `sd.solve` returns it; arguments as in a call."""
        return self._probed(key).layer.solve(self._padded(u0), t0=t0, t1=t1, saveat=saveat)

    def read(self, solution: Solution) -> Array:
        """The states along a solution, shape (times, out_size); NaN for one that failed."""
        return self.layer.read(solution)

    def _padded(self, u0: Any) -> Any:
        try:
            given = as_array(u0, self.layer.model.start.dtype)
        except (TypeError, ValueError):
            raise ModelError(f"u0 must be a vector of {self.in_size} numbers, not {u0!r}.") from None
        if given.shape != (self.in_size,):
            raise ModelError(
                f"u0 has the shape {given.shape}; this NeuralODE takes ({self.in_size},).",
                remedy="give one vector; batches are jax.vmap(node)(u0s)",
            )
        return (np if isinstance(given, np.ndarray) else jnp).pad(given, (0, self._behind))

    def _probed(self, key: Any) -> NeuralODE:
        """This layer with a new probe."""
        if self.trace != "hutchinson":
            return self
        if key is None:
            raise ModelError(
                'trace="hutchinson" draws a random probe, which needs a key.', remedy="node(u0, key=jax.random.key(0))"
            )
        probe = self.layer.model.networks[0].probe
        drawn = jax.random.rademacher(key, probe.shape, probe.dtype)
        return eqx.tree_at(lambda node: node.layer.model.networks[0].probe, self, drawn)

    def __pdoc__(self, **_: Any) -> wl.AbstractDoc:
        """How it prints inside another module."""
        return wl.TextDoc(repr(self))

    def __repr__(self) -> str:
        return f"NeuralODE of {type(self.network).__name__}: {self.in_size} -> {self.out_size}, {self.layer.interval}"


def _with_trace(network: Any, trace: Trace | None, width: int) -> Any:
    if trace is None:
        return network
    if trace == "exact":
        return ExactTrace(network, width)
    return HutchinsonTrace(network, width, jnp.ones(width, _dtype(network)))


def _width(network: Any, size: Any, augment: int, time: bool) -> int:
    """The entries of u that the network works on."""
    declared = getattr(network, "in_size", None)
    if declared == "scalar" or getattr(network, "out_size", None) == "scalar":
        raise ModelError("NeuralODE needs a network of vectors.", remedy="build it with in_size=1, out_size=1")
    if size is None:
        if not isinstance(declared, int):
            raise ModelError(
                f"How many entries {type(network).__name__} works on is not known.", remedy="say so: size=2"
            )
        size = declared - augment - time
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ModelError(f"size must be a whole number from 1 on, not {size!r}.")
    width = int(size) + augment
    if isinstance(declared, int) and declared != width + time:
        parts = f"{size} of u0" + (f", {augment} of augment" if augment else "") + (", 1 of time" if time else "")
        raise ModelError(
            f"The network takes {declared} entries, but it will be called with {width + time}: {parts}.",
            remedy=f"build it for {width + time}",
        )
    given = jax.eval_shape(network, jax.ShapeDtypeStruct((width + time,), _dtype(network)))
    if given.shape != (width,):
        raise ModelError(
            f"The network returns shape {given.shape}, and u has {width} entries.", remedy=f"let it return ({width},)"
        )
    return width


def _dtype(network: Any) -> Any:
    """The precision of a network's arrays; JAX's default for one without any."""
    leaves = [leaf for leaf in jax.tree.leaves(network) if eqx.is_inexact_array(leaf)]
    return jnp.result_type(*leaves) if leaves else jnp.result_type(float)


def _in_precision(model: Any, dtype: Any) -> Any:
    return eqx.tree_at(lambda m: (m.values, m.start), model, replace_fn=lambda leaf: leaf.astype(dtype))
