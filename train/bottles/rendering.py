"""A scene -> the bytes of its picture."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from train.bottles import scenes, textures
from train.bottles.parameters import Scene
from train.bottles.photograph import develop
from train.bottles.textures import Picture
from train.errors import RunError


def require_mitsuba() -> None:
    """Raise RunError, with the remedy, where Mitsuba is not installed."""
    if find_spec("mitsuba") is None:
        raise RunError("Mitsuba is not installed: pip install 'rotulo[bottles]'")


def picture(scene: Scene, samples: int) -> bytes:
    """A JPEG of the scene with `samples` paths a pixel: a function of them on one kind of machine."""
    if scene.reason == "collage":
        camera = scene.camera
        light = textures.collage(np.random.default_rng([*scene.seed, 2]), camera.height_px, camera.width_px)
    else:
        light = _rendered(scene, samples)
    return develop(light, scene.photo, scene.seed)


def _rendered(scene: Scene, samples: int) -> Picture:
    mitsuba = _mitsuba()
    built = scenes.build(mitsuba, scene, samples)
    seed = int(np.random.default_rng(scene.seed).integers(1 << 31))
    return np.array(mitsuba.render(built, spp=samples, seed=seed), np.float32)


@cache
def _mitsuba() -> Any:
    """Loaded where it is needed: it takes seconds. One thread: the work is shared out by process."""
    import drjit
    import mitsuba

    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    drjit.set_thread_count(1)
    return mitsuba
