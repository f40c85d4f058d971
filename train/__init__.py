"""Training: `python -m train`."""

import models  # noqa: F401 (before OpenVINO, which `export` and `quantize` import: see models/telemetry.py)
