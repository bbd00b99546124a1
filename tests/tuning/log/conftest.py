"""Records out of thin air, and a store of each kind."""

from __future__ import annotations

import pytest
from needed import missing
from postgresql_server import binaries, postgresql

from tvmcomp.tuning.log.places import open_store


@pytest.fixture(scope="session")
def postgresql_address():
    if binaries() is None:
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with postgresql() as address:
        yield address


@pytest.fixture
def postgresql_log(postgresql_address):
    """The address of an empty database."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        postgresql_address.replace("postgresql:", "postgresql+psycopg:")
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS tvmcomp_records")
    engine.dispose()
    return postgresql_address


@pytest.fixture(params=["folder", "sqlite", "postgresql"])
def location(request, tmp_path):
    """Where a store can be made, of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_log")
    return str(tmp_path / ("log" if request.param == "folder" else "log.db"))


@pytest.fixture
def store(location):
    store = open_store(location)
    yield store
    store.close()
