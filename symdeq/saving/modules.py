"""Networks in a file: their arrays with the places where these belong, and, where data can say it, how to build one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError
from symdeq._values import concrete
from symdeq.saving import recipes
from symdeq.saving.archive import Archive, ArrayWriter
from symdeq.saving.fields import as_line, damaged, field, line, listed


def to_data(module: Any, name: str, arrays: ArrayWriter) -> dict[str, Any]:
    """A network as data; its arrays go into the file.

    Raises `ModelError` inside `jax.jit` and the like, where arrays have no values.
    """
    leaves = _places(module)
    if not concrete(*(leaf for _, leaf in leaves)):
        raise ModelError(
            f"The arrays of the network `{name}` have no values inside jax.jit, jax.grad or jax.vmap.",
            remedy="save outside of them",
        )
    return {
        "class": as_line(type(module).__name__),
        "recipe": recipes.recipe(module),
        "leaves": [[as_line(path), arrays.add(leaf, f"`{path}` of the network `{name}`")] for path, leaf in leaves],
    }


def _places(module: Any) -> list[tuple[str, Any]]:
    """The arrays of a module with their paths; a shape stands for an array that is still to come."""
    found = jax.tree_util.tree_flatten_with_path(module, is_leaf=_is_shape)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in found if eqx.is_array(leaf) or _is_shape(leaf)]


def _is_shape(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


@dataclass(frozen=True)
class Builders:
    """What a reader gave to build networks with, by name.

    - `given`: modules, or functions without arguments that return one.
    - `shown`: the path, for the line that an error says to write.
    """

    given: Mapping[str, Any]
    shown: str

    def module(self, name: str, data: Any, archive: Archive) -> Any:
        """A network with the arrays of the file.

        Raises `ModelError` where it cannot be built, or is built otherwise than what was saved.
        """
        of = f"the network `{name}`"
        kind = line(field(data, "class", str, of), f"the class of {of}")
        leaves = [listed(leaf, str, f"an array of {of}") for leaf in field(data, "leaves", list, of)]
        if any(len(leaf) != 2 for leaf in leaves):
            raise damaged(f"an array of {of} has no place")
        saved = [(line(path, f"a place in {of}"), archive.array(member)) for path, member in leaves]
        made = field(data, "recipe", (dict, type(None)), of)
        if name in self.given:
            built = self._built(name)
        elif made is not None:
            built = recipes.build(made, most=len(leaves) + 1)
        else:
            raise ModelError(
                f"The file holds the arrays of the network `{name}`, a {kind}, but not how to build one.",
                remedy=f'give a function that builds it as it was: sd.load("{self.shown}", networks={{"{name}": '
                f"lambda: {kind}(...)}})",
            )
        places = _places(built)
        self._check_same(name, kind, places, saved)
        new = iter(saved)
        flat, structure = jax.tree.flatten(built, is_leaf=_is_shape)
        filled = [jnp.asarray(next(new)[1]) if eqx.is_array(leaf) or _is_shape(leaf) else leaf for leaf in flat]
        return jax.tree.unflatten(structure, filled)

    def _built(self, name: str) -> Any:
        given = self.given[name]
        if isinstance(given, eqx.Module) or any(eqx.is_array(leaf) for leaf in jax.tree.leaves(given)):
            return given
        return _called(given, name)

    def _check_same(
        self, name: str, kind: str, places: list[tuple[str, Any]], saved: list[tuple[str, np.ndarray]]
    ) -> None:
        remedy = f'build it as it was when it was saved: networks={{"{name}": lambda: {kind}(...)}}'
        for (path, leaf), (saved_path, array) in zip(places, saved, strict=False):
            if path != saved_path:
                raise ModelError(
                    f"The network `{name}` has an array at `{path}` where the saved one has one at `{saved_path}`.",
                    remedy=remedy,
                )
            if leaf.shape != array.shape:
                raise ModelError(
                    f"`{path}` of the network `{name}` has the shape {leaf.shape}, and {array.shape} in the file.",
                    remedy=remedy,
                )
            if name in self.given and leaf.dtype != array.dtype:
                raise ModelError(
                    f"`{path}` of the network `{name}` is of the type {leaf.dtype}, and {array.dtype} in the file.",
                    remedy=remedy,
                )
        if len(places) != len(saved):
            missing = [path for path, _ in (places, saved)[len(places) < len(saved)]][min(len(places), len(saved))]
            raise ModelError(
                f"The network `{name}` has {len(places)} arrays, and {len(saved)} in the file; the first that only one "
                f"of them has is `{missing}`.",
                remedy=remedy,
            )

    def check_known(self, names: set[str]) -> None:
        """Raise `ModelError` for something that builds a network that the file does not have."""
        for name in self.given:
            if name not in names:
                has = ", ".join(f"`{n}`" for n in sorted(names)) or "none"
                raise ModelError(
                    f"The file has no network `{name}`.", remedy=f"give functions for networks that it has: {has}"
                )


def _called(build: Callable[[], Any], name: str) -> Any:
    if not callable(build):
        raise ModelError(
            f"The network `{name}` cannot be built by {build!r:.80}.",
            remedy="give a function without arguments that returns it, or such a network itself",
        )
    try:
        return build()
    except Exception as error:  # whatever a function of the reader raises, it is here that it was called
        raise ModelError(
            f"The function that builds the network `{name}` failed: {type(error).__name__}: {error}",
            remedy="give a function without arguments that returns the network",
        ) from error
