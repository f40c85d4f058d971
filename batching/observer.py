"""What a batcher tells whoever measures it. Subclass, and override what you listen to."""

from collections.abc import Sequence


class Observer:
    """Hears every decision on the event loop, after it was acted on. Be quick; what is raised is logged."""

    def batch_formed(self, name: str, size: int, reason: str, queue_seconds: Sequence[float]) -> None:
        """A batch went to the device. ``reason`` is a `CloseReason`; one queue wait per request."""

    def batch_done(self, name: str, size: int, predicted_seconds: float, actual_seconds: float) -> None:
        """A batch came back, with answers or with an error. Seconds as seen by the event loop."""

    def refused(self, name: str, reason: str) -> None:
        """A request was turned away at once: ``full``, ``deadline``, ``expired`` or ``closed``.

        Whoever works for the line beforehand may say so too: ``decoding``, in the service.
        """

    def abandoned(self, name: str, stage: str) -> None:
        """An accepted request got no answer.

        Work saved: ``left`` (the caller went while in line), ``expired`` (deadline passed in line),
        ``dropped`` (its deadline could no longer be met). Work done in vain: ``left_running``,
        ``expired_running``.
        """

    def failed(self, name: str, kind: str) -> None:
        """An accepted request was answered with an exception of this type: the batch's, or its own."""
