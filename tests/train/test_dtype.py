from __future__ import annotations

import pytest
import torch

from models.engines import processor
from train import dtype
from train.distributed import World

CPU, GPU = World(0, 1, torch.device("cpu")), World(0, 1, torch.device("cuda"))


def test_a_processor_gets_bfloat16_where_it_gains_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for instructions, slow in ((True, False), (True, True), (False, False)):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda there=instructions: there)
        monkeypatch.setattr(processor, "bfloat16_is_slow", lambda slow=slow: slow)
        expected = torch.bfloat16 if instructions and not slow else torch.float32
        assert dtype.choose("auto", CPU) == expected
        assert dtype.choose("auto", GPU) == torch.bfloat16


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_a_dtype_that_is_named_is_taken(asked: str) -> None:
    assert str(dtype.choose(asked, CPU)) == f"torch.{asked}"
