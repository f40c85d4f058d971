"""Engines: the same network on different runtimes, behind one protocol."""

from models.engines.protocol import Engine

__all__ = ["Engine"]
