"""Values in units of their nominal size, so that one learning rate suits a rate of 1e-9 and one of 1e7."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq.compiled import Model


class Unit(eqx.Module):
    """The unit of an array, and where its logarithm is trained instead; both of its shape, or of shape ()."""

    size: Any
    log: Any

    def down(self, value: Any) -> Array:
        """Values in this unit."""
        positive = jnp.where(self.log, value, 1)
        return jnp.where(self.log, jnp.log(positive), value / self.size)

    def up(self, scaled: Any) -> Array:
        """Values that are `scaled` in this unit."""
        exponent = jnp.where(self.log, scaled, 0)
        return jnp.where(self.log, jnp.exp(exponent), scaled * self.size)


class Scales(eqx.Module):
    """The unit of each leaf of a module; `None` as `units` for none at all."""

    units: Any

    def down(self, values: Any) -> Any:
        """A module, or a part of it with `None` elsewhere, in these units."""
        return self._mapped(values, Unit.down)

    def up(self, scaled: Any) -> Any:
        """The reverse of `down`."""
        return self._mapped(scaled, Unit.up)

    def _mapped(self, values: Any, change: Callable[[Unit, Any], Array]) -> Any:
        if self.units is None:
            return values
        changed = lambda v, unit: v if v is None or unit is None else change(unit, v).astype(v.dtype)  # noqa: E731
        return jax.tree.map(changed, values, self.units, is_leaf=lambda v: v is None)


def scales_of(module: Any) -> Scales:
    """The units of a module: nominal sizes in each `Model`, 1 everywhere else.

    A value that is 0 or not set takes 1 as its unit, an initial value that is 0 the largest of its model.
    """
    units = [_of_model(part) if isinstance(part, Model) else [None] for part in _parts(module)]
    leaves, structure = jax.tree.flatten(module)
    flat = [unit for group in units for unit in group]
    assert len(flat) == len(leaves)
    return Scales(jax.tree.unflatten(structure, flat))


def _parts(module: Any) -> list[Any]:
    return jax.tree.leaves(module, is_leaf=lambda part: isinstance(part, Model))


def _of_model(model: Model) -> list[Unit | None]:
    """The units of the leaves of a model, in their order."""
    values, start = np.asarray(model.values), np.asarray(model.start)
    log = np.array([p.scale == "log" for p in model.parameters], bool) & (values > 0)
    largest = np.max(np.abs(start[np.isfinite(start)]), initial=0.0)
    parameters = Unit(_sizes(values, 1.0), log)
    initial = Unit(_sizes(start, largest or 1.0), np.zeros(start.shape, bool))
    marked = dataclasses.replace(model, values=parameters, start=initial)
    is_unit = lambda leaf: isinstance(leaf, Unit)  # noqa: E731
    return [leaf if is_unit(leaf) else None for leaf in jax.tree.leaves(marked, is_leaf=is_unit)]


def _sizes(values: np.ndarray, otherwise: float) -> np.ndarray:
    size = np.abs(values)
    return np.where(np.isfinite(size) & (size > 0), size, otherwise).astype(values.dtype)
