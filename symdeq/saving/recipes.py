"""How the common networks of equinox are built, as data: then a file needs no function of its reader to build them.

Only classes and functions in this file's tables are ever built or called; a network of anything else needs one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from symdeq._interpolated import Interpolated
from symdeq.saving.fields import checked, damaged, field

_IDENTITY = inspect.signature(eqx.nn.MLP.__init__).parameters["final_activation"].default
ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "identity": _IDENTITY,
    **{
        f"jax.nn.{name}": getattr(jax.nn, name)
        for name in (
            *("relu", "relu6", "sigmoid", "softplus", "silu", "elu", "celu", "selu", "gelu", "leaky_relu", "mish"),
            *("soft_sign", "log_sigmoid", "hard_sigmoid", "hard_tanh", "hard_silu", "squareplus", "sparse_plus"),
            *("sparse_sigmoid", "softmax", "log_softmax", "standardize", "identity"),
        )
    },
    **{f"jax.numpy.{name}": getattr(jnp, name) for name in ("tanh", "sin", "cos", "exp", "abs", "arctan", "square")},
}


def recipe(module: Any) -> dict[str, Any] | None:
    """How to build a module, or `None` where that cannot be said in data."""
    if type(module) is eqx.nn.MLP:
        made = _of_mlp(module)
    elif type(module) is eqx.nn.Linear:
        made = {
            "class": "equinox.nn.Linear",
            "in_features": module.in_features,
            "out_features": module.out_features,
            "use_bias": module.use_bias,
        }
    elif type(module) is Interpolated:
        made = {"class": "symdeq.Interpolated", "samples": len(module.times)}
    else:
        return None
    # A part may have been exchanged after it was built.
    return made if made is not None and _same(build(made), module) else None


def _of_mlp(module: eqx.nn.MLP) -> dict[str, Any] | None:
    names = [_name(module.activation), _name(module.final_activation)]
    if None in names:
        return None
    return {
        "class": "equinox.nn.MLP",
        "in_size": module.in_size,
        "out_size": module.out_size,
        "width_size": module.width_size,
        "depth": module.depth,
        "activation": names[0],
        "final_activation": names[1],
        "use_bias": module.use_bias,
        "use_final_bias": module.use_final_bias,
        "scan": module.scan,
    }


def _name(activation: Any) -> str | None:
    return next((name for name, function in ACTIVATIONS.items() if function is activation), None)


def _same(built: Any, module: Any) -> bool:
    if jax.tree.structure(built) != jax.tree.structure(module):
        return False
    pairs = zip(jax.tree.leaves(built), jax.tree.leaves(module), strict=True)
    return all(a.shape == b.shape if isinstance(a, jax.ShapeDtypeStruct) else a is b for a, b in pairs)


def build(made: dict[str, Any], most: int | None = None) -> Any:
    """The module of a recipe, with shapes in place of its arrays: nothing is computed.

    Arguments:

    - `made`: what `recipe` gave.
    - `most`: how many arrays it may have; default any number.

    Raises `ModelError` for a recipe that cannot be right.
    """
    kind = field(made, "class", str, "a network")
    if kind == "equinox.nn.Linear":
        sizes = {name: _size(made, name) for name in ("in_features", "out_features")}
        bias = field(made, "use_bias", bool, "a network")
        return eqx.filter_eval_shape(partial(eqx.nn.Linear, **sizes, use_bias=bias, key=jax.random.key(0)))
    if kind == "symdeq.Interpolated":
        shape = jax.ShapeDtypeStruct((max(2, _whole(made, "samples")),), jnp.result_type(float))
        return Interpolated(shape, shape)  # pyright: ignore[reportArgumentType]
    if kind != "equinox.nn.MLP":
        raise damaged(f"a network is of the unknown class {kind[:40]!r}")
    sizes = {name: _size(made, name) for name in ("in_size", "out_size")}
    depth = field(made, "depth", int, "a network")
    flags = {name: field(made, name, bool, "a network") for name in ("use_bias", "use_final_bias", "scan")}
    if depth < 0 or (most is not None and not flags["scan"] and depth >= most):
        raise damaged(f"a network has {depth} hidden layers")
    return eqx.filter_eval_shape(
        partial(
            eqx.nn.MLP,
            **sizes,
            **flags,
            width_size=_whole(made, "width_size"),
            depth=depth,
            activation=_activation(made, "activation"),
            final_activation=_activation(made, "final_activation"),
            key=jax.random.key(0),
        )
    )


def _size(made: dict[str, Any], name: str) -> Any:
    return "scalar" if made.get(name) == "scalar" else _whole(made, name)


def _whole(made: dict[str, Any], name: str) -> int:
    value = field(made, name, int, "a network")
    if not 0 <= value < 2**24:
        raise damaged(f"`{name}` of a network is {value}")
    return value


def _activation(made: dict[str, Any], name: str) -> Callable[..., Any]:
    function = checked(field(made, name, str, "a network"), str, name)
    if function not in ACTIVATIONS:
        raise damaged(f"a network has the unknown activation {function[:40]!r}")
    return ACTIVATIONS[function]
