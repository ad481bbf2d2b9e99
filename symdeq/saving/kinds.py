"""What can be saved: models, and whatever else says what it consists of.

A layer holds models, networks and settings. To be saved it describes itself as those, and registers a function that
puts it together again; saving knows of no layer.

    @describe.register
    def _(layer: MyLayer) -> Described:
        return Described(kind="my layer", data={"t1": layer.t1, "inputs": layer.inputs}, models=(layer.model,))

    register("my layer", lambda described: MyLayer(described.models[0], **described.data))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from symdeq._errors import ModelError, UnsupportedError
from symdeq.compiled import Model
from symdeq.saving.fields import damaged


@dataclass(frozen=True, kw_only=True)
class Described:
    """What something consists of; given back to the function that rebuilds it with everything equal.

    Arguments:

    - `kind`: the name under which that function is registered.
    - `data`: settings: `None`, truth values, numbers, text, expressions and symbols of the models, arrays (NumPy's and
        JAX's come back as NumPy's), and lists, tuples and dictionaries of all those.
    - `models`: compiled models.
    - `modules`: networks by name, beside those of the models.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[Model, ...] = ()
    modules: Mapping[str, Any] = field(default_factory=dict)


@singledispatch
def describe(thing: Any) -> Described:
    """What something consists of, so that it can be saved; open to other classes by `describe.register`.

    Arguments:

    - `thing`: a model, or an object of a class that was registered.

    Returns a `Described`. Raises `UnsupportedError` for anything else.
    """
    raise UnsupportedError(
        f"A {type(thing).__name__} cannot be saved.",
        remedy="save a compiled model or a layer; a Solution is arrays: jnp.savez(path, ts=sol.ts, ys=sol.ys)",
    )


@describe.register
def _(thing: Model) -> Described:
    return Described(kind="model", models=(thing,))


_REBUILDERS: dict[str, Callable[[Described], Any]] = {}


def register(kind: str, rebuild: Callable[[Described], Any]) -> None:
    """Say how something of one kind is put together again.

    Arguments:

    - `kind`: as in `Described`.
    - `rebuild`: a function of a `Described` as it was saved, which returns the thing.
    """
    _REBUILDERS[kind] = rebuild


def rebuilt(described: Described) -> Any:
    """The thing that was described. Raises `ModelError` where nobody has said how to rebuild it."""
    if described.kind not in _REBUILDERS:
        raise ModelError(
            f"The file holds a {described.kind!r:.60}, which nothing here can rebuild.",
            remedy=f"import the package that defines it first; known are {', '.join(sorted(_REBUILDERS))}",
        )
    try:
        return _REBUILDERS[described.kind](described)
    except ModelError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise damaged(f"a {described.kind!r:.60} is not what its kind consists of") from error


def _model(described: Described) -> Model:
    [model] = described.models
    return model


register("model", _model)
