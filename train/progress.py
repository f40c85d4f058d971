"""What the person at the terminal sees: a bar, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

LINE_EVERY_S = 30.0


class Progress:
    """Speed, time left, losses; and the same numbers for TensorBoard. Silent in all but the first process."""

    def __init__(self, total_steps: int, done_steps: int, directory: Path | None) -> None:
        self._speaks = directory is not None
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total_steps, initial=done_steps, unit="step", disable=not (self._speaks and self._terminal)
        )
        self._total, self._since, self._images = total_steps, time.monotonic(), 0
        self._steps_since = done_steps
        self._board = _board(directory) if directory else None

    def step(self, step: int, loss: float, images: int) -> None:
        """After each step; `images` is the size of the batch over all processes."""
        self._images += images
        self._bar.update(1)
        passed = time.monotonic() - self._since
        if passed < (1.0 if self._terminal else LINE_EVERY_S):
            return
        speed = self._images / passed
        left = (self._total - step) * passed / (step - self._steps_since)
        self._bar.set_postfix_str(f"{speed:.0f} images/s, loss {loss:.3f}")
        if not self._terminal:
            self.say(f"step {step}/{self._total}  loss {loss:.3f}  {speed:.0f} images/s  {_clock(left)} left")
        if self._board:
            self._board.add_scalar("train/loss", loss, step)
            self._board.add_scalar("train/images_per_s", speed, step)
        self._since, self._images, self._steps_since = time.monotonic(), 0, step

    def epoch(self, epoch: dict[str, Any]) -> None:
        """After each validation."""
        self.say(
            f"epoch {epoch['epoch']}: train loss {epoch['train_loss']:.4f}, "
            f"val loss {epoch['val_loss']:.4f}, val accuracy {epoch['val_accuracy']:.2%}, "
            f"{_clock(epoch['seconds'])} so far"
        )
        if self._board:
            for key in ("train_loss", "val_loss", "val_accuracy"):
                self._board.add_scalar(f"epoch/{key}", epoch[key], epoch["epoch"])
            self._board.flush()

    def say(self, line: str) -> None:
        """One line above the bar."""
        if self._speaks:
            tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
        if self._board:
            self._board.close()


def _board(directory: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # slow to import; only the first process pays

    return SummaryWriter(str(directory / "tensorboard"))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
