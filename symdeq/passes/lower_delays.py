"""Every lag a slot of the history. A system without delays passes unchanged."""

from __future__ import annotations

from symdeq._errors import UnsupportedError
from symdeq.model import Stage, System


def lower_delays(system: System) -> System:
    """The identity for a system without delays; one with them is refused: this version does not solve it."""
    if system.stage >= Stage.DELAYS_LOWERED:
        return system
    if system.delays:
        raise UnsupportedError(f"System `{system.name}` has delays, which this version of symdeq does not solve.")
    return system.replace(stage=Stage.DELAYS_LOWERED)
