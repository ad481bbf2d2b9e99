"""Every condition of an event a signed scalar. A system without events passes unchanged."""

from __future__ import annotations

from symdeq._errors import UnsupportedError
from symdeq.model import Stage, System


def lower_events(system: System) -> System:
    """The identity for a system without events; one with them is refused: this version does not solve it."""
    if system.stage >= Stage.EVENTS_LOWERED:
        return system
    if system.events:
        raise UnsupportedError(f"System `{system.name}` has events, which this version of symdeq does not solve.")
    return system.replace(stage=Stage.EVENTS_LOWERED)
