"""3x3 convolutions over small maps, as products of matrices where that is faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Up to this many positions in the map that comes out (4x4): measured in `train/LOG.md`, entry 12.
SMALL_MAP = 16
_TAPS = range(3)


def multiply_small_maps(network: nn.Module) -> nn.Module:
    """Let every plain 3x3 convolution of `network` take the faster way; parameters and their names stay."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and _is_plain(layer):
            layer.__class__ = Conv3x3
    return network


def _is_plain(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.padding, layer.dilation, layer.groups, layer.bias)
    return shape == ((3, 3), (1, 1), (1, 1), 1, None) and layer.stride[0] == layer.stride[1]


class Conv3x3(nn.Conv2d):
    """A `Conv2d` with a 3x3 kernel, a padding of 1 and no bias.

    With AMX's tiles, oneDNN reaches a quarter of its speed where a map is 4x4 or smaller, and least for the
    gradient of a kernel; a product with the maps' patches side by side (im2col: Chellapilla et al. 2006)
    reaches most of it. On larger maps the patches cost more than they save.

    It is also right where oneDNN is not: where a kernel strides over a map of one pixel, its bfloat16 (seen
    in torch 2.14) leaves the gradient of taps that see only padding as the memory was (`train/LOG.md`,
    entry 9).
    """

    def forward(self, x: Tensor) -> Tensor:
        stride = self.stride[0]
        small = _after(x.shape[2], stride) * _after(x.shape[3], stride) <= SMALL_MAP
        if not (small and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            return product(x.to(dtype), self.weight.to(dtype), stride)


def product(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """x (n, c, h, w) and kernel (k, c, 3, 3) -> (n, k, h', w') in channels-last memory, padded by 1."""
    y: Tensor = _Product.apply(x, kernel, stride)
    return y


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, stride: int) -> Tensor:
        patches = patches_of(x, stride)
        ctx.stride = stride
        ctx.save_for_backward(x, kernel, patches)
        return _multiplied(patches, kernel, x, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel, patches = ctx.saved_tensors
        wants_x, wants_kernel, _ = ctx.needs_input_grad
        dx = _gradient_of_maps(dy, x, kernel, ctx.stride) if wants_x else None
        dkernel = _gradient_of_kernel(dy, patches, kernel) if wants_kernel else None
        return dx, dkernel, None


def patches_of(x: Tensor, stride: int) -> Tensor:
    """(n, c, h, w) -> (n * h' * w', 9 * c): what each position's kernel sees, tap by tap."""
    height, width = (_after(side, stride) for side in x.shape[2:])
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    rows, columns = (stride * (side - 1) + 1 for side in (height, width))
    taps = [padded[:, i : i + rows : stride, j : j + columns : stride] for i in _TAPS for j in _TAPS]
    return torch.stack(taps, 3).reshape(len(x) * height * width, -1)


def _multiplied(patches: Tensor, kernel: Tensor, x: Tensor, stride: int) -> Tensor:
    height, width = (_after(side, stride) for side in x.shape[2:])
    flat = kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)
    return (patches @ flat.T).view(len(x), height, width, -1).permute(0, 3, 1, 2)


def _gradient_of_kernel(dy: Tensor, patches: Tensor, kernel: Tensor) -> Tensor:
    flat = dy.permute(0, 2, 3, 1).reshape(-1, len(kernel)).T @ patches
    return flat.view(len(kernel), 3, 3, -1).permute(0, 3, 1, 2)


def _gradient_of_maps(dy: Tensor, x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """With stride 1 the same product, with the kernel turned round; with a larger one oneDNN is as fast."""
    if stride == 1:
        return _multiplied(patches_of(dy, 1), kernel.flip(2, 3).transpose(0, 1), dy, 1)
    strides, padding = [stride, stride], [1, 1]
    dx: Tensor = torch.ops.aten.convolution_backward(
        dy, x, kernel, None, strides, padding, [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return dx


def _after(side: int, stride: int) -> int:
    """Positions of a 3x3 kernel with a padding of 1 along `side`."""
    return (side - 1) // stride + 1
