"""What can go wrong between a caller and its answer.

BatchingError
├── QueueFull            refused at once: the line is full or cannot meet the deadline; retry later
├── DeadlineExceeded     accepted, but its deadline passed, or can no longer be met
├── BatcherClosed        the batcher is draining or closed; this process takes no more
└── BatchFailed          the batch function raised (see ``__cause__``)
    ├── WrongResultCount it returned too few or too many answers
    └── OutOfMemory      it raised MemoryError, for half of the batch as well; retry later
"""


class BatchingError(Exception):
    """Any refusal or failure of the queue itself, as opposed to one of the caller's own item."""


class QueueFull(BatchingError):
    """The request was refused before any work was done for it.

    ``retry_after_seconds`` is how long the line needs, at the learnt speed, until it could take this request.
    """

    def __init__(self, name: str, retry_after_seconds: float) -> None:
        super().__init__(f"{name}: the line is full, retry in {retry_after_seconds:.3f} s")
        self.retry_after_seconds = retry_after_seconds


class DeadlineExceeded(BatchingError):
    """The deadline passed, or so little of it is left that serving it would cost others theirs."""

    def __init__(self, name: str, waited_seconds: float) -> None:
        super().__init__(f"{name}: deadline not met after {waited_seconds:.3f} s")


class BatcherClosed(BatchingError):
    """Nothing is accepted any more; what was accepted before is still answered."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: closed")


class BatchFailed(BatchingError):
    """The batch function raised. Each caller of the batch gets an object of its own, chained to the cause."""

    def __init__(self, name: str, size: int, detail: str = "the batch function raised") -> None:
        super().__init__(f"{name}: batch of {size}: {detail}")


class WrongResultCount(BatchFailed):
    """The batch function broke its promise of one answer per item, so no answer can be trusted."""

    def __init__(self, name: str, size: int, returned: int) -> None:
        super().__init__(name, size, f"{returned} answers returned")
        self.returned = returned


class OutOfMemory(BatchFailed):
    """Not even half of the batch found memory. Nothing is wrong with the caller's item."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size, "out of memory")
