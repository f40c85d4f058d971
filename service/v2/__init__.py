"""The Open Inference Protocol, version 2 over REST, under `/v2`."""
