"""The torch engine: CPU or CUDA."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models import networks
from models.artifact import Artifact
from models.engines.protocol import Engine, Logits
from models.errors import BadArtifact, EngineUnavailable
from models.images import Pixels

# Two models may be loaded at once; the tracer's names of modules and the warning filters are the process's.
_TRACING = Lock()


class TorchEngine(Engine):
    """fp32 on a CPU, half precision on CUDA; channels-last on both.

    The batch norms are folded into the convolutions, and the network runs as one TorchScript call, without
    the interpreter lock. Eager mode takes that lock for each of some sixty operations, and waits for it
    whenever the event loop is busy: 240 ms a batch in place of 35, measured beside a busy thread.

    `threads` sets torch's intra-op threads for the whole process.
    Raises BadArtifact when the weights do not fit the network, EngineUnavailable without the device.
    """

    def __init__(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> None:
        if device != "cpu" and not torch.cuda.is_available():
            raise EngineUnavailable(f"the device {device} is not available to torch")
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._network = _traced(_Pixels(artifact).to(self._device), artifact.manifest.preprocessing.size)

    @property
    def name(self) -> str:
        return f"torch {self._device} {'fp16' if self._on_cuda else 'fp32'}"

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
        return np.asarray(self._network(batch).float().cpu().numpy())

    @property
    def _on_cuda(self) -> bool:
        return self._device.type == "cuda"


class _Pixels(nn.Module):
    """The network on uint8 (n, size, size, 3), normalisation included."""

    mean: Tensor
    scale: Tensor

    def __init__(self, artifact: Artifact) -> None:
        super().__init__()
        normalisation = artifact.manifest.normalisation
        self.network = _network(artifact)
        self.register_buffer("mean", _per_channel(normalisation.mean))
        self.register_buffer("scale", 1 / _per_channel(normalisation.std))

    def forward(self, pixels: Tensor) -> Tensor:
        normalised = pixels.permute(0, 3, 1, 2).float().sub(self.mean).mul(self.scale)
        logits: Tensor = self.network(normalised.half() if pixels.is_cuda else normalised)
        return logits


def _traced(network: _Pixels, size: int) -> Callable[[Tensor], Tensor]:
    """Its TorchScript, for batches of any size.

    TorchScript is deprecated in favour of torch.compile, which wants a C++ compiler where it runs. And
    `torch.jit.freeze`, which folds too, never gives the weights back (pytorch #96726): every new version
    of a model would cost its size in memory.
    """
    _fold_batch_norms(network.eval().requires_grad_(requires_grad=False))
    network.network.to(memory_format=torch.channels_last)
    if network.mean.is_cuda:
        network.network.half()
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8, device=network.mean.device)
    with _TRACING, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", FutureWarning)
        # Unchecked: its check keeps memory too, and the golden sample says more.
        traced: Callable[[Tensor], Tensor] = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, (example,), check_trace=False
        )
    return traced


def _fold_batch_norms(network: nn.Module) -> None:
    """Into the convolutions before them: in each block, a norm follows the convolution it belongs to."""
    for block in list(network.modules()):
        for (name, first), (next_name, second) in pairwise(block.named_children()):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(first, second))
                setattr(block, next_name, nn.Identity())


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    """0..1 statistics as a (1, 3, 1, 1) tensor in units of uint8 pixels."""
    return torch.tensor(values).mul(255).view(1, 3, 1, 1)


def _network(artifact: Artifact) -> nn.Module:
    manifest = artifact.manifest
    network = networks.build(manifest.network, len(manifest.classes))
    state = {name: torch.from_numpy(value).clone() for name, value in artifact.weights.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BadArtifact(f"{artifact.weights_path}: the weights do not fit the network") from error
    return network.float()


def _is_out_of_memory(error: RuntimeError) -> bool:
    """By its text: TorchScript's interpreter keeps only that of CUDA's type for it, and the CPU has none."""
    return any(text in str(error) for text in ("out of memory", "can't allocate memory"))
