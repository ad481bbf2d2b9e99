"""Networks of a system on their way into a model: collected, called once to see their shapes, and named for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp

from symdeq._errors import ModelError
from symdeq._interpolated import interpolated
from symdeq.model import Equation, Network, NetworkValue, Samples, System, networks_in, shape_of
from symdeq.model.checks import check_shapes


def named(system: System) -> tuple[System, dict[str, Any]]:
    """The system with networks that are known by name only, and how many numbers they give; and the networks by name.

    Raises `ModelError` for a network that cannot be called as the equations call it, and for an output that it does not
    have.
    """
    if not any(part.networks for part in _all(system)):
        return system, {}
    outputs: dict[Network, int] = {}
    for part in _all(system):
        for equation in _written(part):
            for value in _calls(equation):
                outputs[value.network] = _outputs(value, outputs, equation)
    swap = {network: Network(network.name, count) for network, count in outputs.items()}
    renamed = _renamed(system, swap)
    for part in _all(renamed):
        for equation in _written(part):
            for value in _calls(equation):
                if not value.index < value.network.outputs:
                    raise ModelError(
                        f"`{value}` does not exist: the network `{value.network}` has {value.network.outputs} outputs.",
                        where=equation.located,
                        remedy=f"use indices from 0 to {value.network.outputs - 1}",
                    )
        check_shapes(part)
    return renamed, _modules(system, "")


def _all(system: System) -> tuple[System, ...]:
    return (system, *(inner for part in system.subsystems for inner in _all(part)))


def _written(system: System) -> tuple[Equation, ...]:
    return (*system.equations, *system.observed, *system.history)


def _calls(equation: Equation) -> list[NetworkValue]:
    """The values of networks in an equation, inner ones first."""
    found = [node for side in (equation.lhs, equation.rhs) for node in sp.postorder_traversal(side)]
    return [node for node in found if isinstance(node, NetworkValue)]


def _outputs(value: NetworkValue, outputs: Mapping[Network, int], equation: Equation) -> int:
    """How many numbers a network gives for these inputs, found without computing anything."""
    network = value.network
    counted = [given.xreplace({n: Network(n.name, outputs[n]) for n in networks_in(given)}) for given in value.inputs]
    width = sum(sum(shape_of(given)) or 1 for given in counted)
    module = _module(network)
    scalar = getattr(module, "in_size", None) == "scalar"
    given = jax.ShapeDtypeStruct(() if scalar else (width,), jnp.result_type(float))
    try:
        if scalar and width != 1:
            raise TypeError(f"it takes one number, not {width}")
        result = jax.eval_shape(module, given)
    except Exception as error:  # whatever a network raises, it is this call that it cannot take
        raise ModelError(
            f"The network `{network}` cannot be called with {width} inputs: {str(error).splitlines()[0]}",
            where=equation.located,
            remedy=f"it is called with one array of shape {given.shape}: give it as many inputs as it takes",
        ) from error
    shape = getattr(result, "shape", None)
    if shape is None or len(shape) > 1 or not jnp.issubdtype(result.dtype, jnp.floating):
        raise ModelError(
            f"The network `{network}` returns {result} and not one array of shape (outputs,).",
            where=equation.located,
            remedy="return jnp.ravel(...) of real numbers",
        )
    count = shape[0] if shape else 1
    if outputs.get(network, network.outputs or count) != count:
        raise ModelError(
            f"The network `{network}` returns {count} numbers and not {outputs.get(network, network.outputs)}.",
            where=equation.located,
            remedy="a network has one number of outputs, whatever it is called with",
        )
    return count


def _renamed(system: System, swap: Mapping[Any, Any]) -> System:
    return replace(
        system,
        equations=tuple(_swapped(e, swap) for e in system.equations),
        observed=tuple(_swapped(e, swap) for e in system.observed),
        history=tuple(_swapped(e, swap) for e in system.history),
        subsystems=tuple(_renamed(part, swap) for part in system.subsystems),
    )


def _swapped(equation: Equation, swap: Mapping[Any, Any]) -> Equation:
    if not networks_in(equation.lhs, equation.rhs):
        return equation
    return replace(equation, lhs=equation.lhs.xreplace(swap), rhs=equation.rhs.xreplace(swap))


def _modules(system: System, prefix: str) -> dict[str, Any]:
    own = {prefix + network.name: _module(network) for network in system.networks}
    parts = [_modules(part, f"{prefix}{part.name}.") for part in system.subsystems]
    return {name: module for group in (own, *parts) for name, module in group.items()}


def _module(network: Network) -> Any:
    """The network itself; data become a function."""
    return interpolated(network.module) if isinstance(network.module, Samples) else network.module
