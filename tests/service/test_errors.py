"""Every exception that the code raises on purpose has one status."""

from __future__ import annotations

import builtins
import inspect
from types import ModuleType

import pytest

import batching.errors
import models.errors
import service.errors
from service.errors import PROBLEMS, detail_of, headers_of, problem_body, problem_of
from tests.test_architecture import PACKAGES, sources

# Why no response can ever carry these.
NEVER_ANSWERED = {
    models.errors.RotuloModelError: "a base class: only its subclasses are raised",
    models.errors.ImageError: "a base class: only its subclasses are raised",
    batching.errors.BatchingError: "a base class: only its subclasses are raised",
    service.errors.ServiceError: "a base class: only its subclasses are raised",
    models.errors.BadArtifact: "the process ends with the message, or an activation with UnfitVersion",
    models.errors.EngineUnavailable: "the process ends with the message, or an activation with UnfitVersion",
}


def defined(module: ModuleType) -> set[type[Exception]]:
    """The module's own exceptions."""
    return {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.__name__
    }


def test_every_exception_of_the_project_has_one_status_or_a_reason_to_have_none() -> None:
    modules = (batching.errors, models.errors, service.errors)
    not_ours = {builtins.MemoryError}
    assert set().union(*map(defined, modules)) == {*PROBLEMS, *NEVER_ANSWERED} - not_ours
    assert not set(PROBLEMS) & set(NEVER_ANSWERED)


@pytest.mark.parametrize("kind", [kind for kind, why in NEVER_ANSWERED.items() if "base class" in why])
def test_a_base_class_is_raised_nowhere(kind: type[Exception]) -> None:
    assert kind.__subclasses__()
    for path in (path for package in PACKAGES for path in sources(package)):
        assert f"raise {kind.__name__}(" not in path.read_text(), path


def test_what_is_not_in_the_table_is_our_fault_and_says_nothing() -> None:
    for error in (KeyError("secret"), OSError("secret"), RuntimeError("secret")):
        assert problem_of(error).status == 500
        assert "secret" not in str(problem_body(error, "id"))


def test_the_cause_of_a_failed_batch_does_not_reach_the_caller() -> None:
    error = batching.errors.BatchFailed("cifar10", 3, "secret")
    assert detail_of(error) == "Internal error"


def test_a_refusal_says_when_to_come_back_in_seconds_and_in_milliseconds() -> None:
    error = batching.errors.QueueFull("cifar10", retry_after_seconds=0.25)
    assert headers_of(error) == {"Retry-After": "1"}
    assert problem_body(error, "id")["retry_after_ms"] == 250
    assert headers_of(batching.errors.QueueFull("cifar10", 0.0)) == {"Retry-After": "1"}


def test_one_kind_of_problem_has_one_status_and_one_title() -> None:
    described = {(problem.kind, problem.status, problem.title) for problem in PROBLEMS.values()}
    assert len(described) == len({kind for kind, _, _ in described})
