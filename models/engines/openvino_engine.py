"""The OpenVINO engine: CPUs, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from models.artifact import Artifact, read_checked
from models.engines import openvino_graph
from models.engines.choice import Choice
from models.engines.protocol import Logits
from models.images import Pixels

_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not quantised
_TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "int8": 1e-4}


def capabilities() -> frozenset[str]:
    """The precisions for which this CPU has instructions of its own."""
    found = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return frozenset(str(name).lower() for name in found) & {"fp32", "bf16", "int8"}


class OpenVinoEngine:
    """One stream on `threads` threads; raises BadArtifact when the weights do not fit the network."""

    def __init__(self, artifact: Artifact, choice: Choice, threads: int = 1) -> None:
        self._precision = choice.precision
        compiled = ov.Core().compile_model(
            _graph(artifact, choice),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": _HINT[choice.precision],
            },
        )
        self._request = compiled.create_infer_request()

    @property
    def name(self) -> str:
        return f"openvino cpu {self._precision}"

    @property
    def tolerance(self) -> float:
        return _TOLERANCE[self._precision]

    def logits(self, pixels: Pixels) -> Logits:
        output = self._request.infer([pixels], share_inputs=True)
        return np.array(output[0])  # a copy: the request's own buffer is written by the next batch


def _graph(artifact: Artifact, choice: Choice) -> ov.Model:
    if choice.export is None or not choice.export.files:
        return openvino_graph.build(artifact)
    files = {
        Path(name).suffix: read_checked(artifact.directory / name, sha256)
        for name, sha256 in choice.export.files.items()
    }
    return ov.Core().read_model(files[".xml"], files[".bin"])
