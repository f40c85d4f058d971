"""A model in service: its place, the version that answers there, and an image's way through it. No HTTP."""
