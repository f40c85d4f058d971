"""A certificate for tests of TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPENSSL = shutil.which("openssl")

_KEY = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
_NAMES = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")


def certificate(directory: Path) -> tuple[Path, Path]:
    """One for localhost that signs itself, and its key, both made in `directory` by OPENSSL."""
    chain, key = directory / "chain.pem", directory / "key.pem"
    subprocess.run(
        [str(OPENSSL), *_KEY, *_NAMES, "-keyout", key, "-out", chain], check=True, capture_output=True
    )
    return chain, key
