"""The models directory: `ROOT/name/version/`, newest version by default."""

from __future__ import annotations

import re
from pathlib import Path

from models.artifact import MANIFEST_FILE
from models.errors import BadArtifact, UnknownModel
from models.manifest import NAME_PATTERN, VERSION_PATTERN

SHIPPED_MODELS = Path(__file__).parent / "shipped"


def find(root: Path) -> dict[str, tuple[str, ...]]:
    """Every model under `root` with its versions, oldest first; empty when `root` holds none.

    Raises BadArtifact where `root` cannot be read. What cannot be read below it is no model and no version.
    """
    try:
        paths = sorted(root.iterdir()) if root.is_dir() else []
    except OSError as error:
        raise BadArtifact(f"{root}: {error.strerror}") from error
    versions = {path.name: _versions(path) for path in paths if re.match(NAME_PATTERN, path.name)}
    return {name: found for name, found in versions.items() if found}


def newest(root: Path) -> dict[str, str]:
    """The newest version of every model; raises BadArtifact where there is none."""
    found = find(root)
    if not found:
        raise BadArtifact(f"{root}: no models here")
    return {name: versions[-1] for name, versions in found.items()}


def locate(root: Path, name: str, version: str | None = None) -> Path:
    """The directory of one version, the newest where none is given; raises UnknownModel."""
    versions = find(root).get(name)
    if versions is None:
        raise UnknownModel(f"no model named {name!r} in {root}")
    if version is not None and version not in versions:
        raise UnknownModel(f"model {name!r} has no version {version!r}, only {', '.join(versions)}")
    return root / name / (version or versions[-1])


def _versions(path: Path) -> tuple[str, ...]:
    try:
        names = [entry.name for entry in path.iterdir() if re.match(VERSION_PATTERN, entry.name)]
    except OSError:
        return ()
    return tuple(sorted((name for name in names if _is_version(path / name)), key=int))


def _is_version(path: Path) -> bool:
    try:
        return (path / MANIFEST_FILE).is_file()
    except OSError:  # it is another user's, say, who has not opened it to this one yet
        return False
