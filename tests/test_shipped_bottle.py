"""The shipped bottle model on renders it was not trained on, as a caller of the old Flask route gets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models import catalog, loader
from models.engines.choice import Wish
from tests.live import LiveService, multipart, serve

RENDERS = Path(__file__).parent / "fixtures" / "bottles"
FILES = sorted(RENDERS.rglob("*.jpg"))
STATUS = {"open": "aberta", "closed": "fechada"}


@pytest.fixture(scope="module", params=["auto", "torch"])
def bottles(request: pytest.FixtureRequest) -> Iterator[LiveService]:
    """On the engine that `make serve` chooses here, and on the one that knows the stored weights in fp32."""
    directory = catalog.locate(catalog.SHIPPED_MODELS, "bottle")
    with serve([loader.load(directory, Wish(engine=request.param), threads=2)]) as running:
        yield running


def test_there_are_renders_of_every_class() -> None:
    assert {file.parent.name for file in FILES} == {"open", "closed", "unknown"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_native_route_knows_all_three_classes(bottles: LiveService, file: Path) -> None:
    answer = bottles.request("POST", "/v1/models/bottle/predict", file.read_bytes()).json()
    assert answer["label"] == file.parent.name
    assert not answer["uncertain"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_old_route_says_open_or_closed_and_where_it_cannot_tell(bottles: LiveService, file: Path) -> None:
    answer = bottles.request("POST", "/classificar", *multipart(("image", file.read_bytes()))).json()
    if file.parent.name == "unknown":
        assert answer["incerto"] is True
        assert answer["confidence"] < 0.1
    else:
        assert answer["status"] == STATUS[file.parent.name]
        assert answer["confidence"] > 0.9
        assert "incerto" not in answer
