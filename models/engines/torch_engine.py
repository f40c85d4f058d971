"""The torch engine: CPU or CUDA."""

from __future__ import annotations

import numpy as np
import torch

from models import networks
from models.artifact import Artifact
from models.engines.protocol import Logits
from models.errors import BadArtifact, EngineUnavailable
from models.images import Pixels


class TorchEngine:
    """fp32 on a CPU, autocast to half precision on CUDA; channels-last on both.

    `threads` sets torch's intra-op threads for the whole process.
    Raises BadArtifact when the weights do not fit the network, EngineUnavailable without the device.
    """

    def __init__(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> None:
        if device != "cpu" and not torch.cuda.is_available():
            raise EngineUnavailable(f"the device {device} is not available to torch")
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._network = _network(artifact).to(self._device).to(memory_format=torch.channels_last)
        normalisation = artifact.manifest.normalisation
        self._mean = self._per_channel(normalisation.mean)
        self._scale = 1 / self._per_channel(normalisation.std)

    @property
    def name(self) -> str:
        return f"torch {self._device} {'fp16' if self._on_cuda else 'fp32'}"

    @property
    def tolerance(self) -> float:
        return 1e-2 if self._on_cuda else 1e-4

    def logits(self, pixels: Pixels) -> Logits:
        try:
            return self._logits(pixels)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()  # does nothing where CUDA is not in use
        raise MemoryError("torch found no memory for the batch")

    @torch.inference_mode()
    def _logits(self, pixels: Pixels) -> Logits:
        batch = torch.from_numpy(pixels)
        if self._on_cuda:
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        normalised = batch.permute(0, 3, 1, 2).float().sub_(self._mean).mul_(self._scale)
        with torch.autocast(self._device.type, torch.float16, enabled=self._on_cuda):
            output = self._network(normalised)
        return np.asarray(output.float().cpu().numpy())

    @property
    def _on_cuda(self) -> bool:
        return self._device.type == "cuda"

    def _per_channel(self, values: tuple[float, float, float]) -> torch.Tensor:
        """0..1 statistics as a (1, 3, 1, 1) tensor in units of uint8 pixels."""
        return torch.tensor(values, device=self._device).mul(255).view(1, 3, 1, 1)


def _network(artifact: Artifact) -> torch.nn.Module:
    manifest = artifact.manifest
    network = networks.build(manifest.network, len(manifest.classes))
    state = {name: torch.from_numpy(value).clone() for name, value in artifact.weights.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BadArtifact(f"{artifact.weights_path}: the weights do not fit the network") from error
    return network.float().eval()


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a type for it, the CPU's allocator only a text."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
