"""What an answer takes besides the line and its batch: its way to the loop and out of it. Learnt; pure."""

from bisect import bisect_left, insort
from collections import deque

_WINDOW = 64  # last batches


class Margin:
    """Seconds to keep free before a deadline: the p99 of what the last batches needed.

    A request lies in its socket while the loop is busy, before anybody knows of it, and its answer waits
    for those of the rest of the batch to be written. Under overload, when refusals keep the loop busy, both
    are tens of milliseconds: a promise that ends with the batch would be kept for nobody. What is observed is
    the time from the engine's end until the answers are written. The batch's hop to the loop is in it, and in
    the batch's own time as well: here it stands for the time in the socket, which nobody can see.

    Of two to a hundred, the worst is ignored, as in `LatencyModel`: a pause is not a habit.
    """

    __slots__ = ("_ordered", "_recent")

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._ordered: list[float] = []

    @property
    def seconds(self) -> float:
        """0 before anything was seen."""
        if not self._ordered:
            return 0.0
        return self._ordered[int(0.99 * (len(self._ordered) - 1))]

    def observe(self, seconds: float) -> None:
        """Learn from one batch."""
        if len(self._recent) == _WINDOW:
            del self._ordered[bisect_left(self._ordered, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._ordered, seconds)
