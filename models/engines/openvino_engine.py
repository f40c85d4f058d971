"""The OpenVINO engine: CPUs, without torch."""

from __future__ import annotations

import numpy as np
import openvino as ov

from models.engines import processor
from models.engines.batch_sizes import batch_sizes, padded
from models.engines.choice import Precision
from models.engines.openvino_core import core
from models.engines.protocol import Engine, Logits
from models.images import Pixels

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
    """Runs a graph of `openvino_graph` at one precision: one stream on `threads` threads.

    A batch is filled up to one of `batch_sizes`, or to the largest that has been run, if that is less.
    """

    def __init__(self, graph: ov.Model, precision: Precision, threads: int = 1) -> None:
        self._precision = precision
        compiled = core().compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": _HINT[precision],
            },
        )
        self._request = compiled.create_infer_request()
        self._largest = 0

    @property
    def name(self) -> str:
        return f"openvino cpu {self._precision}"

    def batch_sizes(self, most: int) -> list[int]:
        return batch_sizes(most)

    def logits(self, pixels: Pixels) -> Logits:
        count = len(pixels)
        self._largest = max(self._largest, count)
        if missing := min(padded(count), self._largest) - count:
            pixels = np.concatenate((pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)))
        output = self._request.infer([pixels], share_inputs=True)
        return np.array(output[0][:count])  # a copy: the request's own buffer is written by the next batch
