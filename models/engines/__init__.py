"""Engines: the same network on different runtimes, behind one protocol."""
