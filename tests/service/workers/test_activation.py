"""A version for all workers or for none, with workers that fail in ways that real ones do at bad moments."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from service.workers.activation import Activations
from service.workers.assignment import Versions
from service.workers.children import Child
from service.workers.link import LinkClosed, Refused


class FakeChild:
    """Notes what it is asked; `fault` is raised when it is to prepare, `hold` is waited for."""

    def __init__(
        self, number: int, fault: Exception | None = None, hold: asyncio.Event | None = None
    ) -> None:
        self.number = number
        self.link = self
        self.asked: list[str] = []
        self._fault, self._hold = fault, hold

    async def ask(self, what: str, _: Any) -> None:
        self.asked.append(what)
        if self._hold:
            await self._hold.wait()
        if self._fault:
            raise self._fault

    async def tell(self, what: str, _: Any) -> None:
        self.asked.append(what)


def activations(children: list[FakeChild]) -> Activations:
    return Activations({"cifar10": Versions("1")}, lambda: cast(list[Child], list(children)))


async def test_all_prepare_before_any_switches() -> None:
    children = [FakeChild(1), FakeChild(2)]
    versions = activations(children)
    await versions.activate("cifar10", "2")
    assert [child.asked for child in children] == [["prepare", "switch"]] * 2
    assert versions.versions == {"cifar10": Versions("2", "1")}
    await versions.activate("cifar10", "2")  # anew
    assert versions.versions == {"cifar10": Versions("2", "1")}


@pytest.mark.parametrize(
    ("fault", "kind"), [(LinkClosed(), "VersionConflict"), (Refused("UnfitVersion", "no"), "UnfitVersion")]
)
async def test_where_one_ends_or_finds_it_unfit_none_switches(fault: Exception, kind: str) -> None:
    children = [FakeChild(1), FakeChild(2, fault), FakeChild(3)]
    versions = activations(children)
    with pytest.raises(Refused) as refused:
        await versions.activate("cifar10", "2")
    assert refused.value.kind == kind
    assert [child.asked for child in children] == [["prepare", "discard"], ["prepare", "discard"], []]
    assert versions.versions == {"cifar10": Versions("1")}


async def test_one_that_becomes_ready_meanwhile_loads_it_too_and_a_second_activation_is_refused() -> None:
    hold = asyncio.Event()
    children = [FakeChild(1, hold=hold)]
    versions = activations(children)
    first = asyncio.create_task(versions.activate("cifar10", "2"))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await versions.activate("cifar10", "3")
    assert refused.value.kind == "VersionConflict"
    children.append(FakeChild(2))
    hold.set()
    await first
    assert [child.asked for child in children] == [["prepare", "switch"]] * 2
