"""The OpenVINO engine: CPUs, without torch."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import openvino as ov

from models.engines import processor
from models.engines.choice import Precision
from models.engines.openvino_core import core
from models.engines.parts import LARGEST_WHOLE, PART, batch_sizes, cut
from models.engines.protocol import Engine, Logits
from models.images import Pixels

# Of what is not quantised, which in an int8 export is next to nothing: every layer with weights runs in int8.
_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
MOST_STREAMS = 8  # as many parts as there are in a batch of 32: more threads than that share the parts


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

    A few images run whole, with all threads on each layer; more are cut into parts that run beside one
    another, see `parts.py`. No thread is bound to a processor: others have work there too.
    """

    def __init__(self, graph: ov.Model, precision: Precision, threads: int = 1) -> None:
        self._precision = precision
        self._whole = self._compiled(graph, threads, streams=1).create_infer_request()
        graph.reshape([PART, *list(graph.input(0).partial_shape)[1:]])
        self._in_parts = self._compiled(graph, threads, streams=min(threads, MOST_STREAMS))
        self._parts: list[ov.InferRequest] = []  # as many as the largest batch so far has had

    def _compiled(self, graph: ov.Model, threads: int, streams: int) -> ov.CompiledModel:
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _HINT[self._precision],
        }
        return core().compile_model(graph, "CPU", options)

    @property
    def name(self) -> str:
        return f"openvino cpu {self._precision}"

    def batch_sizes(self, most: int) -> list[int]:
        return batch_sizes(most)

    def logits(self, pixels: Pixels) -> Logits:
        if len(pixels) <= LARGEST_WHOLE:
            output = self._whole.infer([pixels], share_inputs=True)
            return np.array(output[0])  # a copy: the request's own buffer is written by the next batch
        parts = cut(pixels)
        while len(self._parts) < len(parts):
            self._parts.append(self._in_parts.create_infer_request())
        requests = self._parts[: len(parts)]
        with ExitStack() as running:  # whatever fails, none is left running
            for request, part in zip(requests, parts, strict=True):
                request.start_async([part], share_inputs=True)
                running.callback(request.wait)
        logits: Logits = np.concatenate([request.get_output_tensor().data for request in requests])
        return logits[: len(pixels)]
