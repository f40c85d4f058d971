"""The HTTP service: FastAPI outside, Flask mounted inside, one batcher per model behind both."""
