"""One process or many: torchrun's environment, torch's own engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from train.errors import TrainError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among `size`; rank 0 writes files and speaks."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Average gradients over the processes, where there are several."""
        if self.size == 1 or not any(p.requires_grad for p in model.parameters()):
            return model
        return DistributedDataParallel(model)

    def gather(self, mine: Tensor, count: int) -> Tensor:
        """Rows computed by each process for `indices[rank::size]` -> all `count` rows in order."""
        if self.size == 1:
            return mine
        rows = mine.new_empty((count, *mine.shape[1:]))
        for rank, part in enumerate(self.everyone(mine)):
            rows[rank :: self.size] = part
        return rows

    def everyone(self, mine: Any) -> list[Any]:
        """What each process gave, by rank: the same list in all of them."""
        values = [mine] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, mine)
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, where alone it is called: the same in all of them.

        Raises, in all of them too, the TrainError or OSError that it raised.
        """
        if self.size == 1:
            return make()
        made: list[Any] = [_outcome(make) if self.first else None]
        distributed.broadcast_object_list(made, src=0, device=self.device)
        value, error = made[0]
        if error is not None:
            raise error
        result: T = value
        return result

    def any(self, flag: bool) -> bool:
        """True in every process as soon as it is true in one."""
        return bool(self.largest(flag))

    def largest(self, mine: int) -> int:
        """The largest of what the processes gave."""
        if self.size == 1:
            return mine
        value = torch.tensor(mine, dtype=torch.int64, device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return int(value.item())


def _outcome(make: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return make(), None
    except (TrainError, OSError) as error:
        return None, error


@contextmanager
def join() -> Iterator[World]:
    """The world torchrun describes (gloo on CPU, NCCL on GPU), or a world of one."""
    on_gpu = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if "WORLD_SIZE" not in os.environ:
        yield World(0, 1, device)
        return
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
