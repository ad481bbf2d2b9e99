"""`train`: minimise a loss over the arrays of a module, by optax, with one compiled step."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import MissingExtraError, ModelError
from symdeq.nn.scaling import Scales, scales_of
from symdeq.nn.training import Training, TrainingError

# Without tqdm a line is printed at every so many hundredths.
_EVERY = 10


def train(
    module: Any,
    loss: Callable[..., Any],
    data: Any = None,
    *,
    steps: int | None = None,
    optimiser: Any = None,
    batches: Iterable[Any] | None = None,
    trainable: Any = None,
    scaled: bool = False,
    callback: Callable[[int, float, Any], Any] | None = None,
    progress: bool = True,
) -> Training:
    """Train a module: `steps` times the gradient of a loss, and a step of an optimiser.

    One step is compiled, once: new values in the module, in `data` and in `batches` of equal shapes never recompile,
    nor does another call with the same loss and the same optimiser.

    Arguments:

    - `module`: an array, a layer, a model, or any PyTree that holds them.
    - `loss`: a function that returns one number: `loss(module)`, or `loss(module, data)` where data are given.
    - `data`: a PyTree of arrays and numbers, the same in each step.
    - `steps`: how many; may be left out where `batches` end by themselves.
    - `optimiser`: from optax; default `optax.adam(1e-2)`. Schedules, weight decay and clipped gradients are optax's:
        `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))`.
    - `batches`: instead of `data`, data for each step: any iterable, such as a generator of mini-batches, or of
        horizons that grow.
    - `trainable`: what is trained, as `eqx.partition` takes it: a function of a leaf, or a PyTree of booleans like the
        module; default all floating-point arrays.
    - `scaled`: train the parameters and initial values of each `Model` in the module in units of their present size,
        those declared with `scale="log"` by their logarithm, so that one learning rate suits values of very different
        size; default `False`.
    - `callback`: called as `callback(step, loss, module)` before each step, with the module that has that loss; ends
        the training by returning `True`.
    - `progress`: show a progress bar with the loss; default `True`.

    Returns a `Training`.

    Raises `TrainingError` as soon as loss or gradient is not finite; its `training` holds the last module for which
    both were, and the losses. Raises `ModelError` for arguments that cannot be right, and `MissingExtraError` without
    optax.
    """
    optimiser = _checked_optimiser(optimiser)
    _check_counts(steps, data, batches)
    values, rest, parts = _divided(module, trainable, scaled)
    state = optimiser.init(values)
    losses: list[float] = []
    seconds: list[float] = []
    good, ended = values, "all steps were done" if steps is not None else "the batches came to an end"
    with _bar(steps, shown=progress) as shown:
        for step, batch in enumerate(_batches(steps, data, batches)):
            started = time.perf_counter()
            result = _step(values, rest, parts, state, batch, loss, optimiser)
            value, gradient_finite = (found.item() for found in jax.device_get((result.loss, result.gradient_finite)))
            if not (math.isfinite(value) and gradient_finite):
                training = _training(good, rest, parts, losses, seconds, "loss or gradient was not finite")
                raise TrainingError(_said(step, value, losses), training)
            losses.append(value)
            good = values
            if callback is not None and callback(step, value, eqx.combine(parts.up(values), rest)) is True:
                seconds.append(time.perf_counter() - started)
                ended = f"the callback ended it at step {step}"
                break
            values, state = result.values, result.state
            seconds.append(time.perf_counter() - started)
            shown(value)
    return _training(values, rest, parts, losses, seconds, ended)


def _divided(module: Any, trainable: Any, scaled: bool) -> tuple[Any, Any, Scales]:
    """What is trained, in the units that it is trained in, what is not, and these units."""
    parts = scales_of(module) if scaled else Scales(None)
    chosen, rest = eqx.partition(module, eqx.is_inexact_array if trainable is None else trainable)
    values, beside = eqx.partition(chosen, eqx.is_inexact_array)
    values = jax.tree.map(_strong, values)  # so that the first step and the second are of one program
    if not any(np.size(leaf) for leaf in jax.tree.leaves(values)):
        raise ModelError("The module holds no arrays to train.", remedy="train arrays, layers, or modules with them")
    return parts.down(values), eqx.combine(rest, beside), parts


class _Result(eqx.Module):
    """What a step gives: the loss before it, and the values after it."""

    loss: Any
    gradient_finite: Any
    values: Any
    state: Any


@eqx.filter_jit
def _step(values: Any, rest: Any, parts: Scales, state: Any, batch: Any, loss: Any, optimiser: Any) -> _Result:
    def of(values: Any) -> Any:
        return _scalar(loss(eqx.combine(parts.up(values), rest), *batch))

    value, gradient = eqx.filter_value_and_grad(of)(values)
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
    updates, state = optimiser.update(gradient, state, values)
    return _Result(loss=value, gradient_finite=finite, values=eqx.apply_updates(values, updates), state=state)


def _scalar(value: Any) -> Any:
    if not eqx.is_array_like(value) or jnp.shape(value) != ():
        found = f"an array of shape {jnp.shape(value)}" if eqx.is_array(value) else f"{type(value).__name__}"
        raise ModelError(f"The loss must be one number, but is {found}.", remedy="sum it, or take its mean")
    return jnp.asarray(value)


def _training(values: Any, rest: Any, parts: Scales, losses: list, seconds: list, ended: str) -> Training:
    module = eqx.combine(parts.up(values), rest)
    return Training(module=module, losses=np.array(losses), seconds=np.array(seconds), ended=ended)


def _batches(steps: int | None, data: Any, batches: Iterable[Any] | None) -> Iterator[tuple[Any, ...]]:
    """The arguments of the loss after the module, step by step; numbers as arrays, so that none is compiled in."""
    if batches is None:
        given = () if data is None else (_traced(data),)
        yield from itertools.repeat(given) if steps is None else itertools.repeat(given, steps)
        return
    for batch in itertools.islice(batches, steps):
        yield (_traced(batch),)


def _traced(data: Any) -> Any:
    return jax.tree.map(lambda leaf: _strong(leaf) if eqx.is_array_like(leaf) else leaf, data)


def _strong(value: Any) -> Any:
    """An array whose type does not depend on what it meets."""
    return jnp.asarray(value, jnp.asarray(value).dtype)


def _said(step: int, value: float, losses: list[float]) -> str:
    what = (
        f"The loss is {value}"
        if not math.isfinite(value)
        else f"The loss is {value:.6g}, but its gradient is not finite,"
    )
    before = f"; the step before it was {losses[-1]:.6g}" if losses else ", the first one"
    return (
        f"{what} at step {step}{before}.\n"
        "  remedy: where a solve failed its values are NaN, and the layer called outside jit says why; else lower the "
        "learning rate, or clip gradients: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)).\n"
        "  The error's `training.module` is the last module whose loss and gradient were finite."
    )


def _check_counts(steps: Any, data: Any, batches: Any) -> None:
    if batches is not None and data is not None:
        raise ModelError(
            "Both data and batches were given.", remedy="batches are the data of each step; leave data out"
        )
    if steps is None and batches is None:
        raise ModelError("train needs the number of steps.", remedy="sd.train(module, loss, data, steps=1000)")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0):
        raise ModelError(f"steps must be a whole number, not {steps!r}.")


def _checked_optimiser(optimiser: Any) -> Any:
    if optimiser is None:
        try:
            import optax
        except ImportError:
            raise MissingExtraError("optax", "nn", "train") from None
        return optax.adam(1e-2)
    if not (callable(getattr(optimiser, "init", None)) and callable(getattr(optimiser, "update", None))):
        raise ModelError(f"{optimiser!r} is no optimiser of optax.", remedy="optimiser=optax.adam(1e-2)")
    return optimiser


@contextmanager
def _bar(steps: int | None, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """Show each step with its loss: by tqdm where it is installed, else a line at each tenth; or do nothing."""
    if not shown:
        yield lambda loss: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield _Lines(steps).advance
        return
    with tqdm(total=steps, desc="train", unit="step") as bar:

        def advance(loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            bar.update()

        yield advance


class _Lines:
    """A line at each tenth, or at each hundredth step where their number is not known."""

    def __init__(self, steps: int | None):
        self._every = 100 if steps is None else max(1, steps * _EVERY // 100)
        self._of, self._done = "" if steps is None else f" of {steps}", 0

    def advance(self, loss: float) -> None:
        self._done += 1
        if self._done % self._every == 0:
            print(f"train: {self._done}{self._of} steps, loss {loss:.4g}")
