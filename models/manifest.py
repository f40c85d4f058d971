"""`model.json`: everything that must travel with the weights, readable by a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.images import Preprocessing

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Version = Annotated[str, Field(pattern=VERSION_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ExportFile = Annotated[str, Field(pattern=r"^openvino-[a-z0-9]+\.(xml|bin)$")]
PerChannel = tuple[float, float, float]
Width = Annotated[int, Field(ge=1, le=2048)]
Stage = Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
ExportPrecision = Literal["int8", "bf16"]
Probabilities = tuple[Annotated[float, Field(ge=0, le=1)], ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ResNet18(_Frozen):
    """A ResNet-18, and the stem that the weights belong to."""

    architecture: Literal["resnet18"] = "resnet18"
    stem: Literal["3x3", "stock"] = Field(description="3x3: stride 1, no max-pool, for small inputs")


class Sequential(_Frozen):
    """Stages of 3x3 convolutions, a 2x2 max-pool after each; the mean over what is left; a dense head.

    With the stem `5x5` the first convolution is a 5x5 one with stride 2, and no pool follows its stage: so no
    map has the full size, which takes memory and time.
    """

    architecture: Literal["sequential"] = "sequential"
    stages: tuple[Stage, ...] = Field(
        min_length=1, max_length=8, description="of each stage, how many channels its convolutions give"
    )
    dense: Width = Field(description="units of the hidden dense layer")
    stem: Literal["3x3", "5x5"] = "3x3"

    def kernel(self, number: int) -> tuple[int, int]:
        """Side and stride of convolution `number`, the first being 1."""
        return (5, 2) if number == 1 and self.stem == "5x5" else (3, 1)

    def pools_after(self, stage: int) -> bool:
        """Whether a max-pool follows `stage`, the first being 1."""
        return stage > 1 or self.stem == "3x3"


Network = ResNet18 | Sequential


def check_large_enough(network: Network, size_px: int) -> None:
    """Raises ValueError where the network makes nothing of an input of this size."""
    if isinstance(network, Sequential) and size_px >> len(network.stages) < 1:
        raise ValueError("the stages halve the input to nothing")


class Normalisation(_Frozen):
    """Per-channel mean and standard deviation of RGB pixels scaled to 0..1."""

    mean: PerChannel
    std: PerChannel

    @model_validator(mode="after")
    def _divisible(self) -> Normalisation:
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


class Calibration(_Frozen):
    """How logits become confidences: the softmax of -(margin / temperature) ** exponent.

    The margin of a class is how far its logit is below the largest. With an exponent of 1 that is
    softmax(logits / temperature) (Guo et al. 2017, arXiv 1706.04599). Another one bends it, and keeps the
    order of the classes but for what float32 rounds off (one of the functions of Rahimi et al. 2020, arXiv
    2003.06820). Label smoothing asks for one above 1: it holds the margins of sure answers down, near those
    of the half sure, and a temperature that makes the first as sure as they are right makes the others too
    sure.
    """

    temperature: float = Field(default=1.0, gt=0)
    exponent: float = Field(default=1.0, gt=0)
    uncertain_below: float = Field(
        default=0.0, ge=0, le=1, description="an answer with less confidence is marked uncertain"
    )


class WeightsFile(_Frozen):
    """The file beside `model.json` and what it must hash to."""

    file: Literal["weights.safetensors"] = "weights.safetensors"
    dtype: Literal["float16", "float32"]
    sha256: Sha256


class Golden(_Frozen):
    """An image beside `model.json`, and what the model answers to it; see `models.golden`."""

    file: Literal["golden.png"] = "golden.png"
    sha256: Sha256
    probabilities: Probabilities = Field(description="calibrated, of the stored weights in fp32")


class Export(_Frozen):
    """The same network made ready for one engine at one precision, and what that cost, as measured.

    Accuracies are on the validation split, through the service's own preprocessing; `accuracy_loss` is
    against the stored weights in fp32, so 0.003 is 0.3 points. An export has a calibration of its own.
    """

    engine: Literal["openvino"]
    precision: ExportPrecision
    files: dict[ExportFile, Sha256] = Field(description="beside model.json; empty where the weights serve")
    calibration: Calibration
    accuracy: float = Field(ge=0, le=1)
    accuracy_loss: float = Field(ge=-1, le=1)
    ece: float = Field(ge=0, le=1)
    golden: Probabilities | None = Field(
        default=None, description="its own answer to the golden sample; none where it was not measured"
    )
    metrics: dict[str, Any] = Field(default_factory=dict, description="reported, and used for nothing")


class ModelSpec(_Frozen):
    """A model apart from its weights."""

    name: Name
    version: Version
    network: Network
    classes: tuple[str, ...] = Field(min_length=2)
    preprocessing: Preprocessing
    normalisation: Normalisation
    calibration: Calibration = Calibration()
    training: dict[str, Any] = Field(default_factory=dict, description="provenance: data, recipe, seed, time")
    metrics: dict[str, Any] = Field(default_factory=dict, description="measured on the stored weights")

    @model_validator(mode="after")
    def _distinct_classes(self) -> ModelSpec:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must be distinct")
        return self

    @model_validator(mode="after")
    def _large_enough(self) -> ModelSpec:
        check_large_enough(self.network, self.preprocessing.size)
        return self


class Manifest(ModelSpec):
    """The whole of `model.json`."""

    format: Literal[1] = 1
    weights: WeightsFile
    golden: Golden | None = None
    exports: tuple[Export, ...] = ()
