"""One transaction at a time, made anew with the reserve where the disk is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, CursorResult, Engine, Executable
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from daemon.errors import JournalDamaged, JournalError
from daemon.journal.faults import constraint_of, is_damage, is_out_of_room, said

Values = Mapping[str, object] | Sequence[Mapping[str, object]] | None


class ConstraintFailed(JournalError):
    """The database refused a row; *constraint* is SQLite's name of the reason."""

    def __init__(self, text: str, *, constraint: str) -> None:
        super().__init__(text)
        self.constraint = constraint


class Transactions:
    """The one connection to the file; blocks nest, and the outermost one commits.

    A transaction that the full disk refuses is rolled back; if *make_room* made some,
    all its statements run once more: nobody else writes, so their results are the
    same.

    Args:
        engine: of the file.
        path: the file, named in every error.
        make_room: returns whether there is room now that was not there before.
        damaged: is told when the content proves to be damaged.
    """

    def __init__(
        self,
        engine: Engine,
        path: Path,
        *,
        make_room: Callable[[], bool],
        damaged: Callable[[JournalDamaged], None],
    ) -> None:
        self._path = path
        self._make_room = make_room
        self._damaged = damaged
        self._done: list[tuple[Executable, Values]] = []
        self._again = True
        with self.translated():
            self._connection: Connection = engine.connect()

    def close(self) -> None:
        """Close the file; every block after it is a JournalError."""
        self._connection.close()

    @property
    def running(self) -> bool:
        """Return whether a block is open."""
        return self._connection.in_transaction()

    @contextmanager
    def block(self, *, again: bool = True) -> Iterator[Self]:
        """Run the block in one transaction, on the disk when the outermost ends.

        Without *again* a full disk ends it, although room is made for what follows.
        """
        with self.translated():
            if self.running:
                yield self
                return
            self._done, self._again = [], again
            self._connection.begin()
            try:
                yield self
            except BaseException:
                self._connection.rollback()
                raise
            self._commit()

    def execute(
        self, statement: Executable, values: Values = None
    ) -> CursorResult[Any]:
        """Run one statement in the open block."""
        try:
            result = self._connection.execute(statement, values)
        except DBAPIError as exc:
            if not self._begun_again(exc):
                raise
            result = self._connection.execute(statement, values)
        if not statement.is_select:
            self._done.append((statement, values))
        return result

    def _commit(self) -> None:
        try:
            self._connection.commit()
        except DBAPIError as exc:
            self._connection.rollback()
            if not self._begun_again(exc):
                raise
            self._connection.commit()

    def _begun_again(self, error: DBAPIError) -> bool:
        """Return whether room was made, and all of the block is done once more."""
        if not is_out_of_room(error) or not self._make_room() or not self._again:
            return False
        self._connection.rollback()
        self._connection.begin()
        for statement, values in self._done:
            self._connection.execute(statement, values).close()
        return True

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Name the file in what the database says."""
        try:
            yield
        except DBAPIError as exc:
            raise self._named(exc) from exc
        except SQLAlchemyError as exc:
            raise JournalError(f"{self._path}: {exc}") from exc

    def _named(self, error: DBAPIError) -> JournalError:
        constraint = constraint_of(error)
        if constraint is not None:
            text = f"{self._path} refused a row: {said(error)}"
            return ConstraintFailed(text, constraint=constraint)
        if is_damage(error):
            damage = JournalDamaged(f"{self._path} is damaged ({said(error)})")
            self._damaged(damage)
            return damage
        return JournalError(f"{self._path}: {said(error)}")
