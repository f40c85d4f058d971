"""Reading `Server-Timing`."""

from __future__ import annotations

import pytest

from ui.timing import Timing, read_timing


def test_the_service_s_own_header_is_read() -> None:
    header = 'decode;dur=3.56, queue;dur=0.00, infer;dur=16.00, batch;desc="8"'
    assert read_timing(header) == Timing(3.56, 0.0, 16.0, 8)


def test_what_a_proxy_adds_does_not_disturb() -> None:
    header = 'cdn;desc="hit";dur=1, decode;dur=1, queue;dur=2, infer;dur=3, batch;desc="4", total;dur=9'
    assert read_timing(header) == Timing(1, 2, 3, 4)


@pytest.mark.parametrize(
    "header", ["", "decode;dur=1", 'decode;dur=x, batch;desc="2"', 'batch;desc="-1"', ",;="]
)
def test_an_incomplete_header_is_no_timing(header: str) -> None:
    assert read_timing(header) is None
