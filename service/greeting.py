"""What the service says when it is ready."""

from __future__ import annotations

import shlex
from pathlib import Path

from service.wiring import Service

SAMPLE = Path(__file__).parent.parent / "loadtest" / "samples" / "cat.jpg"


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
    sample = shlex.quote(str(SAMPLE))
    lines.append("ask it:")
    lines += [
        f"  curl{key} --data-binary @{sample} {url}/v1/models/{name}/predict" for name in service.models
    ]
    if "cifar10" in service.models:
        lines.append(f"  curl{key} -F file=@{sample} {url}/predict")
    return "\n".join([*lines, f"  {url}/docs in a browser"])
