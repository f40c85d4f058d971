"""The databases that the tests of the record share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.record import databases
from tests.service.record.databases import Cluster, RecordDatabase, SqliteFile


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL server for all tests; it is started for the first that wants it."""
    bin_dir = databases.binaries()
    if bin_dir is None:
        pytest.skip(databases.WITHOUT_POSTGRESQL)
    with databases.cluster(bin_dir) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> RecordDatabase:
    """Empty, of each kind."""
    if request.param == "sqlite":
        return SqliteFile(tmp_path / "predictions.db")
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.database()
