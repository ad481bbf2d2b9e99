"""The passes, in the one order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from symdeq.model import Stage, System
from symdeq.passes.analyse import analyse
from symdeq.passes.flatten import flatten
from symdeq.passes.lower_delays import lower_delays
from symdeq.passes.lower_events import lower_events
from symdeq.passes.reduce_index import reduce_index
from symdeq.passes.simplify import simplify
from symdeq.passes.split_noise import split_noise
from symdeq.passes.tear import tear
from symdeq.passes.verify import verify

Pass = Callable[[System], System]

PIPELINE: tuple[Pass, ...] = (
    flatten,
    split_noise,
    lower_delays,
    lower_events,
    reduce_index,
    tear,
    simplify,
    analyse,
)


def run(system: System, *, simplified: bool = True, trace: Callable[[str, System], None] | None = None) -> System:
    """Take a declared system through every pass, verified after each.

    Arguments:

    - `system`: at any stage; passes that it has been through leave it as it is.
    - `simplified`: whether `simplify` may rewrite right-hand sides; default `True`.
    - `trace`: called with the name of each pass and the system after it; default `None`.

    Returns the system at `Stage.ANALYSED`. Raises `ModelError` for a model that cannot be right, and
    `VerificationError` where a pass broke the rules of its output.
    """
    for step in PIPELINE:
        if step is simplify and not simplified:
            step = _unsimplified
        system = step(system)
        verify(system)
        if trace is not None:
            trace(step.__name__.strip("_"), system)
    return system


def _unsimplified(system: System) -> System:
    return system if system.stage >= Stage.SIMPLIFIED else system.replace(stage=Stage.SIMPLIFIED)
