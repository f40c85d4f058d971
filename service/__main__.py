"""`python -m service`: load the models, say how to ask them, answer until told to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import RotuloModelError
from service.settings import BadSettings, Settings, read_settings

if TYPE_CHECKING:
    from service.wiring import Service

SAMPLE = Path(__file__).parent.parent / "loadtest" / "samples" / "cat.jpg"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 after a drain, 2 where a setting or a model is unfit."""
    try:
        settings = read_settings(arguments)
        return _serve(settings)
    except (BadSettings, RotuloModelError) as error:
        print(f"rotulo: {error}", file=sys.stderr)
        return 2


def _serve(settings: Settings) -> int:
    # After the settings are known to be good: these imports take seconds.
    from service.server import Server
    from service.wiring import Service, load_predictors

    service = Service(settings, load_predictors(settings))
    _greet(service)
    Server(service).run()
    return 0


def _greet(service: Service) -> None:
    settings = service.settings
    url = f"http://{settings.host}:{settings.port}"
    for model in service.models.values():
        predictor = model.predictor
        name, version = predictor.manifest.name, predictor.manifest.version
        print(f"serving {name}/{version} on {predictor.engine.name} ({predictor.engine_reason})")
    if service.admin_token.generated:
        print(f"admin token, for this run: {service.admin_token.value}")
    print("try:")
    print(f"  curl --data-binary @{SAMPLE} {url}/v1/models/cifar10/predict")
    print(f"  curl -F file=@{SAMPLE} {url}/predict")
    print(f"  open {url}/docs", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
