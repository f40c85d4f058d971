"""A model directory -> a Predictor on the engine chosen for this machine."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from models import artifact, golden, images
from models.artifact import Artifact
from models.engines.choice import Choice, Wish, choose
from models.engines.protocol import Engine
from models.errors import BadArtifact, EngineUnavailable
from models.predictor import Predictor

logger = logging.getLogger("rotulo")


def load(
    directory: Path, wish: Wish, threads: int = 1, max_pixels: int = images.DEFAULT_MAX_PIXELS
) -> Predictor:
    """Check the model, choose its engine, make it ready and try it on the model's golden sample; raises
    BadArtifact or EngineUnavailable in one line.
    """
    loaded = artifact.load(directory)
    choice = choose(loaded.manifest, wish, _usable(wish))
    try:
        engine = _engine(loaded, choice, wish.device, threads)
    except RuntimeError as error:
        message = f"{directory}: {choice.engine} cannot make the network ready at {choice.precision}"
        raise BadArtifact(message) from error
    predictor = Predictor(loaded.manifest, engine, choice.calibration, max_pixels, choice.reason)
    if not golden.check(loaded, choice, predictor):
        logger.warning("%s: no golden sample at %s, so none was checked", directory, choice.precision)
    return predictor


def _usable(wish: Wish) -> frozenset[str]:
    """See `choose`."""
    if find_spec("openvino") is None:
        return frozenset()
    from models.engines.openvino_engine import computed, worthwhile

    return worthwhile() if wish.precision == "auto" else computed()


def _engine(loaded: Artifact, choice: Choice, device: str, threads: int) -> Engine:
    # Imported where they are chosen: either takes seconds, and torch may not be installed.
    if choice.engine == "torch":
        if find_spec("torch") is None:
            raise EngineUnavailable("torch is not installed: pip install 'rotulo[torch]'")
        from models.engines.torch_engine import TorchEngine

        return TorchEngine(loaded, device, threads)
    from models.engines import openvino_graph
    from models.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(openvino_graph.read(loaded, choice.export), choice.precision, threads)
