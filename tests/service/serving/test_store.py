"""What the settings say of engines, as the models are loaded with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import loader
from models.engines.choice import Wish
from models.predictor import Predictor
from service.serving.store import Store
from service.settings import Settings


def test_the_loss_that_is_set_in_points_is_a_share_where_an_engine_is_chosen(
    models_dir: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[Wish] = []

    def load(_: Path, wish: Wish, *__: int) -> Predictor:
        wishes.append(wish)
        return predictor

    monkeypatch.setattr(loader, "load", load)
    Store(Settings(models_dir=models_dir, max_accuracy_loss_points=0.5)).load("cifar10")
    assert [wish.max_accuracy_loss for wish in wishes] == [0.005]
