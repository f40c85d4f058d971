"""Micro-batching for models behind asyncio: one latency target, no fixed waits. Standard library only."""

from batching.batcher import Answered, Batcher
from batching.device import Device
from batching.errors import (
    BatcherClosed,
    BatchFailed,
    BatchingError,
    DeadlineExceeded,
    OutOfMemory,
    QueueFull,
    WrongResultCount,
)
from batching.latency import LatencyModel, LatencyPoint
from batching.observer import Observer
from batching.policy import FOR_ANSWERS, BatchPolicy, CloseReason, RefusalReason

__all__ = [
    "FOR_ANSWERS",
    "Answered",
    "BatchFailed",
    "BatchPolicy",
    "Batcher",
    "BatcherClosed",
    "BatchingError",
    "CloseReason",
    "DeadlineExceeded",
    "Device",
    "LatencyModel",
    "LatencyPoint",
    "Observer",
    "OutOfMemory",
    "QueueFull",
    "RefusalReason",
    "WrongResultCount",
]
