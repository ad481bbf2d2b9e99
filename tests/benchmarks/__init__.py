"""Times, errors and compile times of symdeq beside hand-written diffrax and SciPy: `python -m tests.benchmarks`.

How it measures, and what it found: docs/benchmarks.md.
"""
