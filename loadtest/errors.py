"""What stops a load test.

LoadtestError            one line for whoever typed the command
├── NoImages             no image where they were looked for
├── NoServer             the service cannot be reached, or does not know the model
├── NotOffered           the service lacks what the scenario asks of it
├── BadOptions           one is not understood, or they contradict one another
├── BadObjectives        objectives or an earlier run that are not understood, or of another load
├── NothingHeld          the server answers hardly anybody in time, however low the load
└── BadArrivals          the file of recorded arrivals is not understood
"""


class LoadtestError(Exception):
    """Base of the errors of this package."""


class NoImages(LoadtestError):
    """No image where they were looked for."""


class NoServer(LoadtestError):
    """The service cannot be reached, did not start, or does not know the model."""


class NotOffered(LoadtestError):
    """The service lacks what the scenario asks of it: a model, a route, an admin token that it takes."""


class BadOptions(LoadtestError):
    """Options that are not understood, or contradict one another."""


class BadObjectives(LoadtestError):
    """Objectives or an earlier run that are not understood, or of another load."""


class NothingHeld(LoadtestError):
    """The server answers hardly anybody in time, however low the load."""


class BadArrivals(LoadtestError):
    """The file of recorded arrivals is not understood."""
