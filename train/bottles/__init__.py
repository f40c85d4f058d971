"""Rendered beer bottles to train on: parameters from a seed, a scene from parameters, a photograph of it."""
