"""What the service says when it is ready."""

from __future__ import annotations

import shlex
from pathlib import Path

from service.wiring import Service

SAMPLES = Path(__file__).parent.parent / "loadtest" / "samples"
# A picture for each model to be asked about, and the old route to its answer; a cat for any other.
ASKED_WITH = {"bottle": ("bottle.jpg", "image", "/classificar"), "cifar10": ("cat.jpg", "file", "/predict")}


def greeting(service: Service, url: str, generated_token: str | None) -> str:
    """What is served and how to ask it, as commands to copy; the admin token where nobody else knows it."""
    lines = []
    for slot in service.models.values():
        predictor, manifest = slot.active.predictor, slot.active.predictor.manifest
        lines.append(f"serving {manifest.name}/{manifest.version} on {predictor.engine.name}")
        lines.append(f"  {predictor.engine_reason}")
    if service.settings.workers > 1:
        lines.append(f"  {service.settings.workers} workers")
    if generated_token is not None:
        lines.append(f"admin token, for this run: {generated_token}")
    key = ' -H "X-API-Key: $KEY"' if service.settings.api_keys_file else ""
    lines.append("ask it:")
    for name in service.models:
        picture, field, old_route = ASKED_WITH.get(name, ("cat.jpg", "", ""))
        sample = shlex.quote(str(SAMPLES / picture))
        lines.append(f"  curl{key} --data-binary @{sample} {url}/v1/models/{name}/predict")
        if old_route:
            lines.append(f"  curl{key} -F {field}=@{sample} {url}{old_route}")
    return "\n".join([*lines, f"  {url}/docs in a browser"])
