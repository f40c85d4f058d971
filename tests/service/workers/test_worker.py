"""What a worker makes of its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.process.cpus import available_cpus, share
from service.workers.assignment import Assignment, Versions
from service.workers.worker import settings_of


def assignment(*arguments: str, number: int = 1, token: str | None = None) -> Assignment:
    return Assignment(number, 2, list(arguments), 8000, token, {"cifar10": Versions("2", "1")})


def test_a_task_is_read_as_it_was_written() -> None:
    written = assignment("--port", "0", token="a-token-for-this-run")
    assert Assignment.from_json(written.to_json()) == written


@pytest.mark.parametrize(
    ("cpus", "workers", "shares"),
    [(8, 3, [3, 3, 2]), (8, 4, [2, 2, 2, 2]), (2, 4, [1, 1, 1, 1]), (5, 1, [5])],
)
def test_cpus_are_dealt_out_and_everybody_has_one(cpus: int, workers: int, shares: list[int]) -> None:
    assert [share(cpus, workers, number) for number in range(1, workers + 1)] == shares


def test_workers_share_the_processors_unless_the_operator_says_how_many_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings_of(assignment(number=2)).threads == share(available_cpus(), 2, 2)
    assert settings_of(assignment("--threads", "7")).threads == 7
    monkeypatch.setenv("ROTULO_THREADS", "9")
    assert settings_of(assignment()).threads == 9


def test_all_workers_have_the_token_that_the_run_was_given(tmp_path: Path) -> None:
    generated = settings_of(
        assignment("--models-dir", str(tmp_path), token="a-token-for-this-run")
    ).admin_token
    assert generated is not None
    assert generated.get_secret_value() == "a-token-for-this-run"
    own = settings_of(assignment("--admin-token", "the-operators-own-token")).admin_token
    assert own is not None
    assert own.get_secret_value() == "the-operators-own-token"
