"""A model on disk: `ROOT/name/version/` with `model.json` and `weights.safetensors`.

A version is written once, in one rename, and its weights never change; exports and a golden sample may be
added beside them, and its confidences calibrated anew. Loading trusts nothing: the manifest must fit the
schema and its own directory, no file may lie outside of it, the weights must hash to what it says and be
finite.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError

from models.errors import BadArtifact
from models.manifest import Export, Golden, Manifest, ModelSpec, WeightsFile

Weights = dict[str, NDArray[Any]]

MANIFEST_FILE = "model.json"
MAX_MANIFEST_BYTES = 1_000_000


@dataclass(frozen=True)
class Artifact:
    """A checked model: where it is, its manifest, and its weights by parameter name in their stored dtype."""

    directory: Path
    manifest: Manifest
    weights: Weights

    @property
    def weights_path(self) -> Path:
        return self.directory / self.manifest.weights.file


def save(
    root: Path,
    spec: ModelSpec,
    weights: Mapping[str, NDArray[Any]],
    dtype: Literal["float16", "float32"] = "float16",
) -> Path:
    """Write `root/name/version/` atomically and return it.

    Floating-point weights are rounded to `dtype`; integers (BatchNorm's counters) stay as they are.
    Raises BadArtifact when the version exists or a weight is not finite in `dtype`; OSError as it comes,
    leaving nothing behind.
    """
    target = _free(root / spec.name / spec.version)
    data = safetensors.numpy.save(_stored(weights, dtype))
    manifest = Manifest(**dict(spec), weights=WeightsFile(dtype=dtype, sha256=sha256(data)))
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{spec.version}-", dir=target.parent))
    try:
        _write_synced(staging / manifest.weights.file, data)
        _write_manifest(staging, manifest)
        staging.chmod(0o755)  # mkdtemp's 0700 would hide the model from the user who serves it
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync_directory(target.parent)
    return target


def move(directory: Path, root: Path) -> Path:
    """Put a version, with what was added to it, under another root of the same file system, in one rename.

    Returns where it is then; raises BadArtifact when the version exists there.
    """
    target = _free(root / directory.parent.name / directory.name)
    directory.rename(target)
    _sync_directory(target.parent)
    return target


def load(directory: Path) -> Artifact:
    """Read and check the model in `directory` (`.../name/version`); raises BadArtifact in one line."""
    manifest = load_manifest(directory)
    path = directory / manifest.weights.file
    data = read_checked(path, manifest.weights.sha256)
    try:
        weights = safetensors.numpy.load(data)
    except Exception as error:  # the file matched its checksum, so it was written wrong
        raise BadArtifact(f"{path}: not a safetensors file") from error
    for name in _not_finite(weights):
        raise BadArtifact(f"{path}: {name} is not finite")
    for name, value in weights.items():
        if np.issubdtype(value.dtype, np.floating) and value.dtype != manifest.weights.dtype:
            raise BadArtifact(f"{path}: {name} is {value.dtype}, not {manifest.weights.dtype}")
    return Artifact(directory, manifest, weights)


def add_export(directory: Path, export: Export, contents: Mapping[str, bytes]) -> None:
    """Put an export beside a model's weights, in place of one for the same engine and precision."""
    others = [
        other
        for other in load_manifest(directory).exports
        if (other.engine, other.precision) != (export.engine, export.precision)
    ]
    _add(directory, {"exports": tuple(others)}, contents, {"exports": (*others, export)})


def replace_manifest(directory: Path, before: Manifest, after: Manifest) -> None:
    """Other words about the same files, in one rename; raises BadArtifact if `before` is no longer what is
    said, as when something was added meanwhile."""
    if load_manifest(directory) != before:
        raise BadArtifact(f"{directory / MANIFEST_FILE} was changed meanwhile; nothing is written")
    _write_manifest(directory, after)


def set_golden(directory: Path, golden: Golden, image: bytes, exports: tuple[Export, ...]) -> None:
    """Put a golden sample beside a model's weights, in place of an earlier one.

    `exports` are the model's own, each with its answer to the image.
    """
    _add(directory, {"golden": None}, {golden.file: image}, {"golden": golden, "exports": exports})


def _add(
    directory: Path, before: Mapping[str, Any], contents: Mapping[str, bytes], after: Mapping[str, Any]
) -> None:
    """What the files replace leaves `model.json` first, and they enter it last, each in one rename: whenever
    this is cut short, the model can be loaded.
    """
    manifest = load_manifest(directory)
    _write_manifest(directory, manifest.model_copy(update=before))
    for name, data in contents.items():
        _replace(directory / name, data)
    _write_manifest(directory, manifest.model_copy(update=after))


def sha256(data: bytes) -> str:
    """As `model.json` states it."""
    return hashlib.sha256(data).hexdigest()


def read_checked(path: Path, expected_sha256: str) -> bytes:
    """A file's bytes; raises BadArtifact when they do not hash to what is expected."""
    data = _read(path)
    if sha256(data) != expected_sha256:
        raise BadArtifact(f"{path}: the checksum differs from the one in {MANIFEST_FILE}")
    return data


def load_manifest(directory: Path) -> Manifest:
    """Read and check `model.json` alone, without the weights."""
    path = directory / MANIFEST_FILE
    if path.is_file() and path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BadArtifact(f"{path}: larger than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        manifest = Manifest.model_validate(json.loads(_read(path)))
    except (ValueError, RecursionError) as error:
        raise BadArtifact(f"{path}: {one_line(error)}") from error
    if (manifest.name, manifest.version) != (directory.parent.name, directory.name):
        raise BadArtifact(f"{path}: says {manifest.name}/{manifest.version}, not what its directory says")
    return manifest


def _free(target: Path) -> Path:
    if target.exists():
        raise BadArtifact(f"{target} exists already; a version is never overwritten")
    return target


def _stored(weights: Mapping[str, NDArray[Any]], dtype: str) -> Weights:
    with np.errstate(over="ignore"):  # an overflow becomes infinity and is refused below
        stored = {
            name: np.ascontiguousarray(
                value.astype(dtype) if np.issubdtype(value.dtype, np.floating) else value
            )
            for name, value in weights.items()
        }
    for name in _not_finite(stored):
        raise BadArtifact(f"{name} is not finite in {dtype}")
    return stored


def _not_finite(weights: Weights) -> list[str]:
    return [
        name
        for name, value in weights.items()
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all()
    ]


def _read(path: Path) -> bytes:
    try:
        if not path.resolve(strict=True).is_relative_to(path.parent.resolve()):
            raise BadArtifact(f"{path}: leads out of its directory")
        if not path.is_file():  # to read a pipe or a device may have no end
            raise BadArtifact(f"{path}: not a file")
        return path.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise BadArtifact(f"{path}: {getattr(error, 'strerror', None) or 'cannot be read'}") from error


def one_line(error: Exception) -> str:
    """What is wrong, and of a ValidationError the first thing, with where it is if it is in one place."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return str(error).splitlines()[0]


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    _replace(directory / MANIFEST_FILE, manifest.model_dump_json(indent=2).encode() + b"\n")


def _replace(path: Path, data: bytes) -> None:
    """Write the file whole, or leave the old one."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        _write_synced(temporary, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
