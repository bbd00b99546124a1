"""Records in a database, through SQLAlchemy: SQLite in a file, or PostgreSQL at an address."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmcomp.errors import LogError
from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.store import Store, bucket_of

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Select, Table

_TABLE = "tvmcomp_records"
#: A writer waits so long for others, as it would wait for the lock of a file.
_PATIENCE_SECONDS = 120
_RETRY_SECONDS = 0.02
_ROWS_AT_ONCE = 1000


class SqlStore(Store):
    """A table with a row for each record: its bucket and workload, its digest, its line.

    The table is made when the first record is written.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user@host/database``.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        try:
            import sqlalchemy
        except ImportError:
            raise LogError(
                "a log in a database needs SQLAlchemy",
                where=_without_password(url),
                hint="Install it with `pip install 'tvmcomp[sql]'`, or keep the log in a folder.",
            ) from None
        self._sql = sqlalchemy
        address = _address(url)
        # As it was given: the driver is no concern of a person's.
        given = address.set(drivername=address.get_backend_name())
        self.where = _shown(given)
        self._path = Path(address.database or "") if address.drivername == "sqlite" else None
        self._engine = self._new_engine(address)
        self._table = _table(sqlalchemy)
        self._made = False

    def add(self, entries: Sequence[Entry]) -> int:
        """See :class:`Store`."""
        # In one order in every process: two that write the same records don't wait for each other.
        rows = sorted((self._row(entry) for entry in entries), key=lambda row: row["digest"])
        if not rows:
            return 0
        with self._begin(make=True) as connection:
            insert = self._insert().execution_options(preserve_rowcount=True)
            return int(connection.execute(insert, rows).rowcount)

    def find(self, workload: str) -> list[Entry]:
        """See :class:`Store`."""
        columns = self._table.c
        query = self._select().where(
            columns.bucket == bucket_of(workload), columns.workload == workload
        )
        return self._entries(query)

    def buckets(self) -> list[str]:
        """See :class:`Store`."""
        if not self._exists():
            return []
        # Bucket by bucket along the key: DISTINCT would go through every row.
        column = self._table.c.bucket
        found: list[str] = []
        with self._begin() as connection:
            first_after = self._sql.select(self._sql.func.min(column))
            while True:
                last = found[-1] if found else ""
                bucket = connection.scalar(first_after.where(column > last))
                if isinstance(bucket, str) and bucket != last:
                    found.append(bucket)
                    continue
                if bucket is not None:  # not of our writing, and it sorts after all that is
                    self.report(f"{self.where}: rows of the bucket {bucket!r} skipped")
                return found

    def read(self, bucket: str) -> list[Entry]:
        """See :class:`Store`."""
        columns = self._table.c
        query = self._select().where(columns.bucket == bucket)
        return sorted(self._entries(query), key=lambda entry: entry.digest)

    def discard(self, entries: Collection[Entry]) -> int:
        """See :class:`Store`."""
        if not entries or not self._exists():
            return 0
        by_bucket: dict[str, list[str]] = {}
        for entry in entries:
            by_bucket.setdefault(bucket_of(entry.workload), []).append(entry.digest)
        removed = 0
        with self._begin() as connection:
            columns = self._table.c
            for bucket, digests in by_bucket.items():
                for start in range(0, len(digests), _ROWS_AT_ONCE):
                    some = columns.digest.in_(digests[start : start + _ROWS_AT_ONCE])
                    delete = self._table.delete().where(columns.bucket == bucket, some)
                    removed += connection.execute(delete).rowcount
        return removed

    def close(self) -> None:
        """See :class:`Store`."""
        self._engine.dispose()

    def _row(self, entry: Entry) -> dict[str, str]:
        return {
            "digest": entry.digest,
            "bucket": bucket_of(entry.workload),
            "workload": entry.workload,
            "line": entry.text.decode(),
        }

    def _select(self) -> Select[Any]:
        columns = self._table.c
        return self._sql.select(columns.bucket, columns.workload, columns.digest, columns.line)

    def _entries(self, query: Select[Any]) -> list[Entry]:
        if not self._exists():
            return []
        with self._begin() as connection:
            return list(self._read_rows(connection.execute(query)))

    def _read_rows(self, rows: Iterable[Any]) -> Iterator[Entry]:
        for *place, digest, line in rows:
            where = f"{self.where}, row {str(digest)[:12]}"
            try:
                entry = Entry(line.encode())
            except (ValueError, AttributeError) as error:
                self.report(f"{where}: row skipped: {error}")
                continue
            if entry.digest != digest:
                self.report(f"{where}: row skipped: its line was changed after it was written")
            elif place != [bucket_of(entry.workload), entry.workload]:
                self.report(f"{where}: row skipped: it belongs to workload {entry.workload}")
            else:
                yield entry

    def _insert(self) -> Any:
        if self._path is not None:
            from sqlalchemy.dialects.sqlite import insert as sqlite_insert

            return sqlite_insert(self._table).on_conflict_do_nothing()
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(self._table).on_conflict_do_nothing()

    def _exists(self) -> bool:
        """Whether the table is there; a file is not made only to look into it."""
        if not self._made and (self._path is None or self._path.exists()):
            with self._begin() as connection:
                self._check_schema(connection)
                self._made = bool(self._sql.inspect(connection).has_table(_TABLE))
        return self._made

    def _check_schema(self, connection: Connection) -> None:
        """Refuse a file whose records are computed: a view or a trigger may never come to an end.

        A database on a server is made by who runs the server.
        """
        if self._path is None:
            return
        query = "SELECT type FROM sqlite_master WHERE lower(tbl_name) = ?"
        kinds = set(connection.exec_driver_sql(query, (_TABLE,)).scalars())
        if found := sorted(kinds & {"view", "trigger"}):
            raise LogError(
                f"its {_TABLE} has a {found[0]}, which tvmcomp never writes",
                where=self.where,
                hint="Give a database that tvmcomp made.",
            )

    @contextmanager
    def _begin(self, make: bool = False) -> Iterator[Connection]:
        """A transaction; the database's errors become LogError."""
        try:
            if make and not self._made:
                self._make()
            with self._engine.begin() as connection:
                yield connection
        # SQLite's message may quote a damaged schema, which then is no text.
        except (self._sql.exc.SQLAlchemyError, UnicodeDecodeError) as error:
            cause = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise LogError(
                f"the database says: {cause[0] if cause else type(error).__name__}",
                where=self.where,
                hint="See that the address is right, and that you may read and write there.",
            ) from error

    def _make(self) -> None:
        if self._path is not None:
            self._make_folder(self._path.parent)
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._create()
                break
            except self._sql.exc.DBAPIError as error:
                # Others make it in the same moment: SQLite says so at once, whatever the timeout.
                said = str(error.orig)
                if not any(word in said for word in ("locked", "already exists", "duplicate key")):
                    raise
                if time.monotonic() > give_up:
                    raise
                time.sleep(_RETRY_SECONDS)
        self._made = True

    def _create(self) -> None:
        if self._path is not None:
            with self._engine.connect() as connection:
                self._check_schema(connection)
                # Lines are long; and readers need not wait for writers. The file remembers both.
                connection.exec_driver_sql("PRAGMA page_size=16384")
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self._table.metadata.create_all(self._engine)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"can't write: {error.strerror}", where=self.where) from error

    def _new_engine(self, address: URL) -> Engine:
        if self._path is None:
            try:
                return self._sql.create_engine(address, pool_pre_ping=True)
            except ImportError:
                raise LogError(
                    "a log in PostgreSQL needs psycopg",
                    where=self.where,
                    hint="Install it with `pip install 'tvmcomp[sql]'`.",
                ) from None
        engine = self._sql.create_engine(address, connect_args={"timeout": _PATIENCE_SECONDS})

        @self._sql.event.listens_for(engine, "connect")
        def _set_up(connection: Any, _: Any) -> None:
            # One row that is no text must not keep the others from being read.
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            connection.execute("PRAGMA synchronous=FULL")  # a commit is on the disk
            connection.execute("PRAGMA cache_size=-65536")  # KiB

        return engine


def _table(sql: Any) -> Table:
    return sql.Table(
        _TABLE,
        sql.MetaData(),
        # A digest alone would be a key, too. So a workload's lines lie together, in SQLite, and a
        # merge, which goes by buckets, writes in the order of the key.
        sql.Column("bucket", sql.String(3), primary_key=True),
        sql.Column("workload", sql.String(16), primary_key=True),
        sql.Column("digest", sql.String(64), primary_key=True),
        sql.Column("line", sql.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _address(url: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise LogError(f"is no address: {error}", where=_without_password(url)) from None
    kind = address.get_backend_name()
    if kind == "sqlite" and address.database:
        return address.set(drivername="sqlite")
    if kind == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    raise LogError(
        "is no place for a log",
        where=_shown(address),
        hint="Give a folder, sqlite:///PATH (or PATH.db), or postgresql://USER@HOST/DATABASE.",
    )


def _shown(address: URL) -> str:
    """Without its password, which may stand in the query, too."""
    return address.difference_update_query(["password"]).render_as_string(hide_password=True)


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
