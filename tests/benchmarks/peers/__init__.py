"""Everyone who solves the problems; each works in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .base import AbstractPeer as AbstractPeer
from .base import Flags as Flags
from .base import Work as Work
from .diffrax_peer import Diffrax, RootFinder
from .scipy_peer import SciPy
from .symdeq_peer import Symdeq, SymdeqEager

SYMDEQ = "symdeq"
BY_HAND = "diffrax by hand"
TUNED = "diffrax tuned"

PEERS: Mapping[str, AbstractPeer] = MappingProxyType(
    {
        peer.name: peer
        for peer in (
            Symdeq(name=SYMDEQ, flags=Flags.symdeq),
            SymdeqEager(name="symdeq, not jitted", flags=Flags.symdeq),
            Diffrax(name=BY_HAND, flags=Flags.default),
            Diffrax(name=f"{BY_HAND} + option", flags=Flags.option),
            Diffrax(name=TUNED, flags=Flags.default, root_finder=RootFinder.newton),
            Diffrax(name=f"{TUNED} + option", flags=Flags.option, root_finder=RootFinder.newton),
            SciPy(name="SciPy LSODA", flags=Flags.default, method="LSODA"),
            SciPy(name="SciPy Radau", flags=Flags.default, method="Radau", only_stiff=True),
            SciPy(name="SciPy DOP853", flags=Flags.default, method="DOP853", only_stiff=False),
        )
    }
)
