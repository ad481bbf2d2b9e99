"""Drift and diffusion apart. A system without Brownian motions passes unchanged."""

from __future__ import annotations

from symdeq._errors import UnsupportedError
from symdeq.model import Stage, System


def split_noise(system: System) -> System:
    """The identity for a system without Brownian motions; one with them is refused: this version does not solve it."""
    if system.stage >= Stage.NOISE_SPLIT:
        return system
    if system.noise:
        raise UnsupportedError(
            f"System `{system.name}` has Brownian motions, which this version of symdeq does not solve."
        )
    return system.replace(stage=Stage.NOISE_SPLIT)
