from __future__ import annotations

from pathlib import Path

import pytest

from models.engines import openvino_engine, processor

INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512_bf16"
AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512_bf16"


@pytest.mark.parametrize(
    ("cpuinfo", "slow"),
    [(INTEL, True), (f"{INTEL} amx_bf16 amx_tile", False), (AMD, False), ("", False)],
)
def test_bfloat16_is_slow_on_an_intel_processor_without_tiles(
    tmp_path: Path, cpuinfo: str, slow: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    assert processor.bfloat16_is_slow(file) == slow


def test_without_a_description_of_the_processor_bfloat16_is_not_said_to_be_slow(tmp_path: Path) -> None:
    assert not processor.bfloat16_is_slow(tmp_path / "absent")


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512bw", False),
        ("flags\t\t: fpu avx2 avx512_vnni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("Features\t: fp asimd", False),
        ("Features\t: fp asimd asimddp", True),
        ("Features\t: fp asimd i8mm", True),
    ],
)
def test_int8_is_worthwhile_where_one_instruction_sums_up_its_products_and_computed_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, has: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    found = processor.has_int8_instructions(file)
    monkeypatch.setattr(processor, "has_int8_instructions", lambda: found)
    assert ("int8" in openvino_engine.worthwhile()) == has
    assert "int8" in openvino_engine.computed()


def test_without_a_description_of_the_processor_openvino_is_believed(tmp_path: Path) -> None:
    assert processor.has_int8_instructions(tmp_path / "absent")


def test_where_bfloat16_is_slow_it_is_not_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "capabilities", lambda: frozenset({"fp32", "bf16", "int8"}))
    monkeypatch.setattr(processor, "bfloat16_is_slow", lambda: True)
    assert openvino_engine.worthwhile() == {"fp32", "int8"}
    assert openvino_engine.computed() == {"fp32", "bf16", "int8"}
    monkeypatch.setattr(processor, "bfloat16_is_slow", lambda: False)
    assert openvino_engine.worthwhile() == {"fp32", "bf16", "int8"}
