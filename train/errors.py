"""What stops a training on purpose; each is one line for the person who started it."""


class TrainError(Exception):
    """Base: printed as one line, exit code 1."""


class DataError(TrainError):
    """The images cannot be trained or evaluated on as they are."""


class RunError(TrainError):
    """The run directory belongs to somebody else, or to another run."""


class Diverged(TrainError):
    """The loss is no longer a number."""
