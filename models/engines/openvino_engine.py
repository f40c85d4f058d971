"""The OpenVINO engine: CPUs, without torch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import inf
from typing import TypeVar

import numpy as np
import openvino as ov

from models.engines import processor
from models.engines.choice import Precision
from models.engines.openvino_core import core
from models.engines.parts import PART, batch_sizes, filled_up, runs_in_parts, streams
from models.engines.priority import yield_to_the_loop
from models.engines.protocol import Engine, Logits
from models.images import Pixels

Pooled = TypeVar("Pooled")

# Of what is not quantised, which in an int8 export is next to nothing: every layer with weights runs in int8.
_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def capabilities() -> frozenset[str]:
    """The precisions for which this CPU has instructions of its own."""
    found = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    listed = frozenset(str(name).lower() for name in found) & {"fp32", "bf16", "int8"}
    return listed if processor.has_int8_instructions() else listed - {"int8"}


def computed() -> frozenset[str]:
    """The precisions that are what they are called here: int8 is without instructions of its own, in several;
    bf16 would be float32, or end the process (2026.4 on AVX2).
    """
    return capabilities() | {"int8"}


def worthwhile() -> frozenset[str]:
    """Those that this CPU has instructions for, and that are no slower than fp32."""
    return capabilities() - ({"bf16"} if processor.bfloat16_is_slow() else set())


class OpenVinoEngine(Engine):
    """Runs a graph of `openvino_graph` at one precision on `threads` threads.

    A small batch runs whole, with all threads on each layer; a larger one is cut into parts that run beside
    one another, see `parts.py`. No thread is bound to a processor: others have work there too. Where parts
    run, the event loop goes first; of a batch that runs whole, the caller's thread computes its share, which
    spares a small one the way to another thread and back.
    """

    def __init__(self, graph: ov.Model, precision: Precision, threads: int = 1) -> None:
        self._precision = precision
        self._whole = self._compiled(graph, threads, streams=1)
        self._streams = streams(threads)
        part = graph.clone()
        part.reshape([PART, *list(graph.input(0).partial_shape)[1:]])
        self._in_parts = self._compiled(part, threads, self._streams) if self._streams > 1 else None
        # One of each for every thread that calls at a time.
        self._idle_whole: list[ov.InferRequest] = []
        self._idle_parts: list[list[ov.InferRequest]] = []  # as many as the largest batch so far has had

    def _compiled(self, graph: ov.Model, threads: int, streams: int) -> ov.CompiledModel:
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _HINT[self._precision],
        }
        with ThreadPoolExecutor(1, initializer=yield_to_the_loop) as aside:  # whose priority streams inherit
            return aside.submit(core().compile_model, graph, "CPU", options).result()

    @property
    def name(self) -> str:
        return f"openvino cpu {self._precision}"

    @property
    def pipelined_from(self) -> float:
        return PART * self._streams if self._streams > 1 else inf

    def batch_sizes(self, most: int) -> list[int]:
        return batch_sizes(most)

    def logits(self, pixels: Pixels) -> Logits:
        if self._in_parts is not None and runs_in_parts(len(pixels), self._streams):
            return self._logits_of_parts(self._in_parts, pixels)
        count = len(pixels)
        if missing := filled_up(count) - count:
            pixels = np.concatenate((pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)))
        request = _acquired(self._idle_whole, self._whole.create_infer_request)
        output = request.infer([pixels], share_inputs=True)
        logits = np.array(output[0][:count])  # a copy: the request's own buffer is written by the next batch
        self._idle_whole.append(request)
        return logits

    def _logits_of_parts(self, compiled: ov.CompiledModel, pixels: Pixels) -> Logits:
        starts = range(0, len(pixels), PART)
        mine: list[ov.InferRequest] = _acquired(self._idle_parts, list)
        while len(mine) < len(starts):
            mine.append(compiled.create_infer_request())
        requests = mine[: len(starts)]
        with ExitStack() as running:  # whatever fails, none is left running
            for request, start in zip(requests, starts, strict=True):
                part = pixels[start : start + PART]
                request.get_input_tensor().data[: len(part)] = part  # behind a last, short one are old images
                request.start_async()
                running.callback(request.wait)
        logits: Logits = np.concatenate([request.get_output_tensor().data for request in requests])
        self._idle_parts.append(mine)
        return logits[: len(pixels)]


def _acquired(idle: list[Pooled], make: Callable[[], Pooled]) -> Pooled:
    """One that no other thread has, else a new one. A look at first would leave time for another thread's."""
    try:
        return idle.pop()
    except IndexError:
        return make()
