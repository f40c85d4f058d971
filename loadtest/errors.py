"""What stops a load test.

LoadtestError            one line for whoever typed the command
├── NoImages             no image where they were looked for
├── NoServer             the service cannot be reached, or does not know the model
├── BadObjectives        the TOML file of objectives is not understood
└── BadArrivals          the file of recorded arrivals is not understood
"""


class LoadtestError(Exception):
    """Base of the errors of this package."""


class NoImages(LoadtestError):
    """No image where they were looked for."""


class NoServer(LoadtestError):
    """The service cannot be reached, did not start, or does not know the model."""


class BadObjectives(LoadtestError):
    """The file of objectives is not understood."""


class BadArrivals(LoadtestError):
    """The file of recorded arrivals is not understood."""
