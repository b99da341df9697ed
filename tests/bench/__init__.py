"""Measurements: `python -m tests.bench` prints ratios, each taken side by side in one run.

Nothing here asserts a time. `test_complexity.py` counts instead, and runs with the other tests.
"""
