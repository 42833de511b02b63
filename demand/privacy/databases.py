"""Databases that hold rows of customers, whatever their tables are: those with a column customer_id."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from demand.errors import DataError
from demand.privacy.identity import CUSTOMER, Identity

SQLITE = b"SQLite format 3\0"
"""How such a file begins."""


@contextmanager
def opened(file: Path, write: bool = False) -> Iterator[Engine]:
    """An SQLite file.

    Raises:
        DataError: it cannot be used now.
    """
    mode = "rw" if write else "ro"
    engine = sql.create_engine(f"sqlite:///file:{file.resolve()}?mode={mode}&uri=true", poolclass=sql.NullPool)
    try:
        yield engine
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or type(error).__name__)
        raise DataError(f"{file} cannot be used now: {cause}") from None
    finally:
        engine.dispose()


def erase_rows(engine: Engine, who: Identity) -> int:
    """Deletes a customer's rows from all tables with customers and returns how many there were.

    SQLite then forgets their bytes too: in its pages, which are written anew, and in its log.
    """
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if sqlite:
            connection.exec_driver_sql("pragma secure_delete = on")
        rows = sum(
            connection.execute(sql.delete(table).where(table.c[CUSTOMER].in_(sorted(who.ids)))).rowcount
            for table in _tables(engine)
            if CUSTOMER in table.c
        )
        connection.commit()
    if sqlite and rows:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("vacuum")
            connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    return rows


def tables_that_name(engine: Engine, who: Identity) -> list[str]:
    """Names of the tables with a row of the customer, or with a telling id in any of their columns."""
    with engine.connect() as connection:
        return [table.name for table in _tables(engine) if _names(connection, table, who)]


def _names(connection: Connection, table: sql.TableClause, who: Identity) -> bool:
    conditions: list[sql.ColumnElement[bool]] = [sql.false()]
    if CUSTOMER in table.c:
        conditions.append(sql.cast(table.c[CUSTOMER], sql.String).in_(sorted(who.ids)))
    for column in (each for each in table.c if each.name != CUSTOMER):
        conditions += [sql.cast(column, sql.String).contains(each, autoescape=True) for each in who.telling]
    found = sql.select(sql.literal(1)).select_from(table).where(sql.or_(*conditions)).limit(1)
    return connection.execute(found).first() is not None


def _tables(engine: Engine) -> list[sql.TableClause]:
    inspector = sql.inspect(engine)
    return [
        sql.table(name, *(sql.column(column["name"]) for column in inspector.get_columns(name)))
        for name in inspector.get_table_names()
    ]
