"""Which engine runs a model at which precision: by what the processor can do and what was measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.errors import BadArtifact
from models.manifest import Calibration, Export, Manifest

EngineName = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]

_FASTEST_FIRST: tuple[Literal["int8", "bf16", "fp32"], ...] = ("int8", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asks for. A precision that is named is served whatever it costs."""

    device: str = "cpu"
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    max_accuracy_loss: float = 0.003


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs, and why, in words for the operator."""

    engine: EngineName
    precision: Precision
    reason: str
    calibration: Calibration
    export: Export | None = None


def choose(manifest: Manifest, wish: Wish, usable: frozenset[str]) -> Choice:
    """The first of int8, bf16 and fp32 that this processor gains by, and that was measured to lose no more
    accuracy than allowed.

    `usable`: precisions that OpenVINO may be asked for here: where one is named, those that it computes as
    such, else those of them that are no slower than fp32. Empty where it is not installed.
    Raises BadArtifact when what was asked for cannot be had.
    """
    if wish.device != "cpu":
        return _torch(manifest, wish, "fp16", f"the device is {wish.device}")
    if wish.engine == "torch":
        return _torch(manifest, wish, "fp32", "torch was asked for")
    if not usable:
        return _torch(manifest, wish, "fp32", "OpenVINO is not installed")
    exports: dict[str, Export] = {export.precision: export for export in manifest.exports}
    passed_over: list[str] = []
    for precision in _FASTEST_FIRST if wish.precision == "auto" else (wish.precision,):
        export = exports.get(precision)
        objection = _objection(precision, export, wish, usable)
        if objection is None:
            calibration = export.calibration if export else manifest.calibration
            reason = "; ".join([_cost(export), *passed_over])
            return Choice("openvino", precision, reason, calibration, export)
        passed_over.append(f"not {precision}, {objection}")
    raise BadArtifact(f"{manifest.name}/{manifest.version}: {'; '.join(passed_over)}")


def _torch(manifest: Manifest, wish: Wish, precision: Precision, reason: str) -> Choice:
    """Torch, at the one precision it has there; raises BadArtifact where something else is named."""
    if wish.engine == "openvino" or wish.precision not in ("auto", precision):
        asked = f"engine {wish.engine}, precision {wish.precision}"
        why = f"{reason}, and torch computes in {precision}"
        raise BadArtifact(f"{manifest.name}/{manifest.version}: {asked} cannot be had: {why}")
    return Choice("torch", precision, reason, manifest.calibration)


def _objection(precision: str, export: Export | None, wish: Wish, usable: frozenset[str]) -> str | None:
    if precision == "fp32":
        return None
    if export is None:
        return "since this model has no such export"
    if precision not in usable:
        return "since this processor has no instructions for it, or none faster than fp32's"
    if wish.precision == precision:
        return None
    if export.accuracy_loss > wish.max_accuracy_loss:
        loss, limit = 100 * export.accuracy_loss, 100 * wish.max_accuracy_loss
        return f"since it loses {loss:.2f} points of accuracy where {limit:.2f} are allowed"
    return None


def _cost(export: Export | None) -> str:
    if export is None:
        return "exact"
    loss = 100 * export.accuracy_loss
    return f"{'loses' if loss >= 0 else 'gains'} {abs(loss):.2f} points of accuracy in validation"
