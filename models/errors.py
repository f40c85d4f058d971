"""Everything that `models` raises on purpose.

RotuloModelError
├── ImageError              the caller's image; the message may be shown to the caller
│   ├── UnsupportedImage    not a JPEG, PNG or WebP by its first bytes
│   ├── UndecodableImage    the right type, but broken, truncated or built to exhaust a decoder
│   └── ImageTooLarge       more pixels than the limit
├── UnknownModel            no such model, or no such version of it
├── BadArtifact             a model directory that must not be served
├── EngineUnavailable       this machine cannot run the engine or device that was asked for
└── BadOutput               the network answered with NaN or infinity

Messages never contain a decoder's own text, which may hold memory addresses (CVE-2026-22778).
"""


class RotuloModelError(Exception):
    """Base of the errors of this package."""


class ImageError(RotuloModelError):
    """The image in a request cannot be used; its message is written for the caller."""


class UnsupportedImage(ImageError):
    """The first bytes are not those of a format we read."""


class UndecodableImage(ImageError):
    """The decoder could not read every pixel."""


class ImageTooLarge(ImageError):
    """The header announces more pixels than allowed."""


class UnknownModel(RotuloModelError):
    """No model, or no version of it, has this name."""


class BadArtifact(RotuloModelError):
    """The model on disk is incomplete, altered, or does not fit the code."""


class EngineUnavailable(RotuloModelError):
    """The engine is not installed, or the device is not there."""


class BadOutput(RotuloModelError):
    """The network's output for one image is not finite."""
