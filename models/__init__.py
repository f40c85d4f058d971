"""What a model is: its network, its file on disk, its one preprocessing path and its engines.

No HTTP and no queue here. `train` writes what this package defines and `service` serves it, so the two
cannot disagree about how an image becomes pixels or how logits become a confidence.
"""

from models import telemetry

telemetry.leave_out()
