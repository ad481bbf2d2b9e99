"""One solve and one gradient of every problem of the zoo."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from tests.zoo import PROBLEMS

from . import records, table
from .client import Session
from .measure import Effort, measure
from .peers import PEERS


def run(problems: Iterable[str], peers: Iterable[str], effort: Effort, patience: float, folder: Path) -> None:
    """Measure, print a table for each problem, and write it into the folder."""
    with Session((PEERS[name] for name in peers), patience) as session:
        for name in problems:
            start = time.perf_counter()
            result = measure(PROBLEMS[name], session.clients(), effort)
            records.save(result, folder)
            print(f"\n{table.table(PROBLEMS[name], result)}", flush=True)
            print(f"  measured in {time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
