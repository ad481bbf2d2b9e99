"""Peers take turns in an order that is new in each round, so that what else the machine does meets all of them."""

from __future__ import annotations

import random

from .client import Client
from .records import Timing


def turns(clients: dict[str, Client], what: str, rounds: int, seconds: float) -> dict[str, Timing]:
    """The times of a run that every peer has prepared.

    Arguments:
        clients: by the names of the peers
        what: the name of the run
        rounds: turns of each peer
        seconds: the length of a turn
    """
    taken: dict[str, list[tuple[int, float]]] = {peer: [] for peer in clients}
    shuffle = random.Random(0)
    for turn in range(rounds):
        order = list(clients)
        shuffle.shuffle(order)
        for peer in order:
            reply = clients[peer].ask(do="burst", what=what, seconds=seconds)
            if "error" in reply:
                raise RuntimeError(f"{peer}: {reply['error']}")
            taken[peer].append((turn, reply["us"]))
    return {peer: Timing(rounds=tuple(found)) for peer, found in taken.items()}
