"""Light on a sensor -> the file that a camera would have written: pure NumPy and Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from train.bottles.parameters import Photo
from train.bottles.textures import Picture

_MID_GREY = 0.18
_BRIGHTEST = 1e6  # its square is a float32 still
_WHITE = 4.0  # where highlights are cut, against mid grey's 0.18


def develop(light: Picture, photo: Photo, seed: tuple[int, ...]) -> bytes:
    """Linear RGB (h, w, 3) -> a JPEG: metered, balanced, with the sensor's noise, through sRGB's curve."""
    rng = np.random.default_rng([*seed, 1])
    # Where a path met an edge without a normal; one would blind the meter, or be a pixel of any colour.
    light = np.clip(np.nan_to_num(light), 0, _BRIGHTEST)
    metered = light * _MID_GREY / max(_key(light), 1e-4) * 2**photo.exposure_stops
    balanced = metered * np.array(photo.white_balance, np.float32)
    rolled = _shoulder(balanced)
    noisy = rolled + photo.noise * np.sqrt(rolled + 0.01) * rng.normal(size=rolled.shape)
    shown = _toned(_srgb(np.clip(noisy, 0, 1)), photo)
    image = Image.fromarray((255 * np.clip(shown, 0, 1) + 0.5).astype(np.uint8))
    if photo.blur_px:
        image = image.filter(ImageFilter.GaussianBlur(photo.blur_px))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=photo.jpeg_quality)
    return encoded.getvalue()


def _key(light: Picture) -> float:
    """What a light meter sees: the geometric mean (Reinhard et al. 2002)."""
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return float(np.exp(np.log(np.maximum(luminance, 1e-3)).mean()))


def _shoulder(light: Picture) -> Picture:
    """Reinhard's curve with a white point, so that highlights keep some shape."""
    return np.asarray(light * (1 + light / _WHITE**2) / (1 + light), np.float32)


def _srgb(linear: Picture) -> Picture:
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055
    )


def _toned(shown: Picture, photo: Photo) -> Picture:
    grey = shown.mean(axis=2, keepdims=True)
    vivid = grey + photo.saturation * (shown - grey)
    return np.asarray(0.5 + photo.contrast * (vivid - 0.5), np.float32)
