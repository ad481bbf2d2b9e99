"""Everyone who solves the problems; each works in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .base import AbstractPeer as AbstractPeer
from .base import Flags as Flags
from .base import MissingTool as MissingTool
from .base import Work as Work
from .batches import AbstractBatch as AbstractBatch
from .batches import CThreads, DiffraxVmap, SymdeqEnsemble, SymdeqMap, SymdeqVmap
from .c_peer import CLoop, CVode
from .diffrax_peer import Diffrax, RootFinder
from .scipy_peer import SciPy
from .symdeq_peer import Fixed, Symdeq, SymdeqEager

SYMDEQ = "symdeq"
BY_HAND = "diffrax by hand"
TUNED = "diffrax tuned"
CVODE = "CVODE in C"
C_LOOP = "C loop"
# symdeq's methods one by one, for comparison with its automatic choice.
FIXED: Mapping[str, AbstractPeer] = MappingProxyType(
    {
        f"symdeq {method.value}": Symdeq(name=f"symdeq {method.value}", flags=Flags.symdeq, method=method)
        for method in Fixed
    }
)

PEERS: Mapping[str, AbstractPeer] = MappingProxyType(
    {
        peer.name: peer
        for peer in (
            Symdeq(name=SYMDEQ, flags=Flags.symdeq),
            *FIXED.values(),
            SymdeqEager(name="symdeq, not jitted", flags=Flags.symdeq),
            Diffrax(name=BY_HAND, flags=Flags.default),
            Diffrax(name=f"{BY_HAND} + option", flags=Flags.option),
            Diffrax(name=TUNED, flags=Flags.default, root_finder=RootFinder.newton),
            Diffrax(name=f"{TUNED} + option", flags=Flags.option, root_finder=RootFinder.newton),
            SciPy(name="SciPy LSODA", flags=Flags.default, method="LSODA"),
            SciPy(name="SciPy Radau", flags=Flags.default, method="Radau", only_stiff=True),
            SciPy(name="SciPy BDF", flags=Flags.default, method="BDF", only_stiff=True),
            SciPy(name="SciPy DOP853", flags=Flags.default, method="DOP853", only_stiff=False),
            CVode(name=CVODE, flags=Flags.symdeq),
            CLoop(name=C_LOOP, flags=Flags.symdeq),
        )
    }
)

ENSEMBLE = "sd.ensemble"
ONE_BY_ONE = "lax.map of sd.solve"
VMAP_BY_HAND = f"vmap of {BY_HAND}"
C_THREADS = "C loop, two threads"

# Those that solve many members at once. The slow ones are asked for fewer members; times are told for each member.
BATCHES: Mapping[str, AbstractBatch] = MappingProxyType(
    {
        batch.name: batch
        for batch in (
            SymdeqEnsemble(name=ENSEMBLE, flags=Flags.symdeq, members=10_000),
            SymdeqMap(name=ONE_BY_ONE, flags=Flags.symdeq, members=1_000),
            SymdeqVmap(name="vmap of sd.solve", flags=Flags.symdeq, members=500),
            DiffraxVmap(name=VMAP_BY_HAND, flags=Flags.default, members=500),
            DiffraxVmap(name=f"vmap of {TUNED}", flags=Flags.default, members=500, root_finder=RootFinder.newton),
            CThreads(name=C_THREADS, flags=Flags.symdeq, members=10_000),
        )
    }
)
