"""The models directory, as this service loads from it."""

from __future__ import annotations

from collections.abc import Mapping

from models import catalog, loader
from models.engines.choice import Wish
from models.predictor import Predictor
from service.settings import Settings


class Store:
    """Which versions there are, and any of them on the engine chosen for it. Looks at the disk each time."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.models_dir
        self._threads = settings.threads
        self._max_pixels = settings.max_pixels
        self._wish = Wish(
            settings.device,
            settings.engine,
            settings.precision,
            settings.max_accuracy_loss_points / 100,
        )

    def versions(self, name: str) -> tuple[str, ...]:
        """Of one model, oldest first; none where it has left the disk."""
        return catalog.find(self._root).get(name, ())

    def load(self, name: str, version: str | None = None) -> Predictor:
        """One version, the newest where none is given. Takes seconds.

        Raises UnknownModel, BadArtifact or EngineUnavailable in one line.
        """
        directory = catalog.locate(self._root, name, version)
        return loader.load(directory, self._wish, self._threads, self._max_pixels)

    def load_all(self, versions: Mapping[str, str] | None = None) -> list[Predictor]:
        """These versions by model, else the newest of every model.

        Raises BadArtifact where there is none, and as `load`.
        """
        wanted = catalog.newest(self._root) if versions is None else versions
        return [self.load(name, version) for name, version in wanted.items()]
