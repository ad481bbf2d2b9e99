"""System to system: each pass does one thing, and the pipeline is one visible tuple."""

from symdeq.passes.earlier import resolved as resolved
from symdeq.passes.pipeline import PIPELINE as PIPELINE
from symdeq.passes.pipeline import run as run
from symdeq.passes.verify import verify as verify
