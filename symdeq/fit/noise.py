"""How measurements scatter about the model: each kind of noise is normal on some scale of the measured quantity."""

from __future__ import annotations

import abc
import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError

Sigma = float | Mapping[str, float] | None


class AbstractNoise(abc.ABC):
    """A kind of noise: the scale on which it is normal, and its standard deviation there.

    `sigma` is a number, numbers by column, or `None`: estimated, one for each column. What follows depends on the
    kind alone, so these are class methods and a fit's program knows no sigma.
    """

    sigma: Sigma

    @classmethod
    @abc.abstractmethod
    def scaled(cls, predicted: Array, floor: Array) -> Array:
        """Predictions on the scale; below `floor` something that is finite and still has a slope."""

    @classmethod
    @abc.abstractmethod
    def from_scale(cls, value: Any) -> np.ndarray:
        """Back from the scale, on the host."""

    @classmethod
    @abc.abstractmethod
    def possible(cls, measured: Any) -> np.ndarray:
        """Which values the noise can produce, on the host."""

    @classmethod
    @abc.abstractmethod
    def floor(cls, measured: np.ndarray) -> float:
        """The smallest prediction of a column that the scale takes as it is."""

    @classmethod
    @abc.abstractmethod
    def size(cls, measured: np.ndarray) -> float:
        """The size of a column's values on the scale, positive: the measure of errors until a sigma is known."""

    @classmethod
    @abc.abstractmethod
    def stretch(cls, measured: np.ndarray) -> float:
        """The sum of log |d scale / d measurement|, which turns densities on the scale into those of measurements."""

    @property
    @abc.abstractmethod
    def name(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class Normal(AbstractNoise):
    """Measurement = model + sigma * e, with standard normal e.

    - `sigma`: standard deviation in the units of the measurement: a positive number, numbers by column name, or
        `None` (default): estimated, one for each column (in a dictionary, for each column that it lacks).
    """

    sigma: Sigma = None

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)

    @classmethod
    def scaled(cls, predicted: Array, floor: Array) -> Array:
        return predicted

    @classmethod
    def from_scale(cls, value: Any) -> np.ndarray:
        return np.asarray(value)

    @classmethod
    def possible(cls, measured: Any) -> np.ndarray:
        return np.isfinite(measured)

    @classmethod
    def floor(cls, measured: np.ndarray) -> float:
        return -math.inf

    @classmethod
    def size(cls, measured: np.ndarray) -> float:
        return float(np.sqrt(np.mean(measured**2))) or 1.0

    @classmethod
    def stretch(cls, measured: np.ndarray) -> float:
        return 0.0

    @property
    def name(self) -> str:
        return "normal"


@dataclasses.dataclass(frozen=True)
class LogNormal(AbstractNoise):
    """Measurement = model * exp(sigma * e), with standard normal e: relative errors of positive quantities.

    - `sigma`: standard deviation of the logarithm (0.1 is about ten per cent): a positive number, numbers by column
        name, or `None` (default): estimated, one for each column (in a dictionary, for each column that it lacks).
    """

    sigma: Sigma = None

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)

    @classmethod
    def scaled(cls, predicted: Array, floor: Array) -> Array:
        # The tangent of the logarithm continues it below the floor, so that a search can come back from a negative
        # prediction.
        above = jnp.maximum(predicted, floor)
        return jnp.log(above) + (predicted - above) / floor

    @classmethod
    def from_scale(cls, value: Any) -> np.ndarray:
        return np.exp(value)

    @classmethod
    def possible(cls, measured: Any) -> np.ndarray:
        return np.isfinite(measured) & (np.asarray(measured) > 0)

    @classmethod
    def floor(cls, measured: np.ndarray) -> float:
        return 1e-6 * float(np.min(measured))

    @classmethod
    def size(cls, measured: np.ndarray) -> float:
        return 1.0

    @classmethod
    def stretch(cls, measured: np.ndarray) -> float:
        return -float(np.sum(np.log(measured)))

    @property
    def name(self) -> str:
        return "log-normal"


def noise_of_columns(noise: Any, columns: tuple[str, ...]) -> tuple[AbstractNoise, ...]:
    """The noise of each column, each with a number or `None` as sigma.

    Arguments:

    - `noise`: one for all columns, or a dictionary by column name.
    - `columns`: the names.

    Raises `ModelError` for what is no noise, and for a column that is missing from a dictionary or unknown.
    """
    if isinstance(noise, Mapping):
        _check_columns(noise, columns, "noise")
        for column in columns:
            if column not in noise:
                raise ModelError(
                    f"noise says nothing about the column `{column}`.", remedy=f"noise={{..., {column!r}: sd.Normal()}}"
                )
        return tuple(_of_column(noise[column], column) for column in columns)
    if isinstance(noise, AbstractNoise) and isinstance(noise.sigma, Mapping):
        _check_columns(noise.sigma, columns, "sigma")
    return tuple(_of_column(noise, column) for column in columns)


def _of_column(noise: Any, column: str) -> AbstractNoise:
    if not isinstance(noise, AbstractNoise):
        raise ModelError(
            f"noise={noise!r} is not a kind of noise.",
            remedy="use sd.Normal(), sd.LogNormal(), either with sigma=, or a dictionary from column to one of them",
        )
    sigma = noise.sigma.get(column) if isinstance(noise.sigma, Mapping) else noise.sigma
    return dataclasses.replace(noise, sigma=sigma)  # pyright: ignore[reportArgumentType]


def _check_columns(given: Mapping[str, Any], columns: tuple[str, ...], role: str) -> None:
    for name in given:
        if name not in columns:
            raise ModelError(
                f"{role} names the column {name!r}, which is not observed.",
                remedy=f"the observed columns are {', '.join(columns)}",
            )


def _check_sigma(sigma: Any) -> None:
    for value in sigma.values() if isinstance(sigma, Mapping) else [sigma]:
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, numbers.Real)
            or not (math.isfinite(value) and float(value) > 0)
        ):
            raise ModelError(
                f"sigma must be a positive number, not {value!r}.", remedy="leave it out to have it estimated"
            )
