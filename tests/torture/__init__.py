"""Faults and hostile inputs against a real process: `python -m tests.torture`. See docs/faults.md."""
