"""Whether JPEGs decoded at a reduced scale are answered as well as at full scale.

`python -m tests.bench.reduced_scale --data CIFAR10_JPEGS`: real test images, enlarged and encoded again as a
camera would have sent them, through the service's own decoding and through one that reads every pixel.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from models import artifact, catalog, images
from models.artifact import Artifact
from models.images import Pixels, Preprocessing
from train import data, evaluate
from train.sources import open_source

SIDES_PX = (100, 256, 640)
QUALITY = 90


def main() -> None:
    """A line for each size that the images are enlarged to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as JPEG files, a folder or zip")
    parser.add_argument("--count", type=int, default=2000, help="test images, evenly over all")
    given = parser.parse_args()
    model = artifact.load(catalog.locate(catalog.SHIPPED_MODELS, "cifar10"))
    source = open_source(given.data)
    test = [item for item in source.items if item.side == "test"]
    chosen = test[:: max(1, len(test) // given.count)]
    labels = np.array([model.manifest.classes.index(item.class_name) for item in chosen], np.int64)
    originals = [source.read(item.path) for item in chosen]
    print("enlarged to   reduced scale   full scale   same answer")
    for side in SIDES_PX:
        sent = [enlarged(original, side) for original in originals]
        preprocessing = model.manifest.preprocessing
        reduced = answers(model, [images.prepare(jpeg, preprocessing) for jpeg in sent])
        full = answers(model, [at_full_scale(jpeg, preprocessing) for jpeg in sent])
        accuracies = [100 * float((given == labels).mean()) for given in (reduced, full)]
        same = 100 * float((reduced == full).mean())
        print(f"{side:8} px {accuracies[0]:13.2f} % {accuracies[1]:10.2f} % {same:11.2f} %")


def enlarged(jpeg: bytes, side_px: int) -> bytes:
    """The image with sides of `side_px`, as a JPEG."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    picture.resize((side_px, side_px), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def at_full_scale(jpeg: bytes, preprocessing: Preprocessing) -> Pixels:
    """As `images.prepare`, from every pixel: what is no JPEG any more has no reduced scale."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(buffer, "PNG", compress_level=0)
    return images.prepare(buffer.getvalue(), preprocessing)


def answers(model: Artifact, pixels: list[Pixels]) -> data.Labels:
    """The likeliest class of each, by the stored weights in fp32."""
    nothing = ("",) * len(pixels)
    labels = np.zeros(len(pixels), np.int64)
    batch = data.Images(model.manifest.classes, np.stack(pixels), labels, nothing, nothing, nothing)
    return np.asarray(evaluate.answer(model, batch).logits.argmax(axis=1))


if __name__ == "__main__":
    main()
