"""Stand-ins for ports of any shape: every call passes points, the dead do not act."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar, cast

from daemon.simulation.killing.life import Call, Killed, Life

Port = TypeVar("Port")

READS = frozenset(
    {
        "outcome",
        "results",
        "orders",
        "barred",
        "highest_known_id",
        "highest_order_id",
        "fills",
        "commissions",
        "rows",
        "undelivered",
        "value",
    }
)
"""Calls of the journal that change nothing; every other one is taken for a commit."""


def stand_in(kind: str, port: Port, life: Life) -> Port:
    """Return what behaves as *port* for as long as *life* lasts.

    Calls, coroutines, context managers and properties pass points; plain attributes
    are handed through.
    """
    return cast("Port", _StandIn(kind, port, life))


class Steps(Coroutine[Any, Any, Any]):
    """A coroutine that calls *waits* whenever it begins to wait.

    What *waits* raises is raised inside the coroutine, at its await.
    """

    def __init__(
        self, inner: Coroutine[Any, Any, Any], waits: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._waits = waits

    def send(self, value: Any) -> Any:  # noqa: ANN401 # as the inner one
        """Go on with *value* to the next await."""
        return self._pause(self._inner.send(value))

    def throw(self, *error: Any) -> Any:  # noqa: ANN401 # as the inner one
        """Go on with an error to the next await."""
        return self._pause(self._inner.throw(*error))

    def close(self) -> None:
        """End the inner coroutine."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            waiting = self.send(None)
            while True:
                try:
                    value = yield waiting
                except BaseException as exc:  # noqa: BLE001 # the inner one decides
                    waiting = self.throw(exc)
                else:
                    waiting = self.send(value)
        except StopIteration as end:
            return end.value

    def _pause(self, waiting: Any) -> Any:  # noqa: ANN401 # a future, handed on
        try:
            self._waits()
        except Killed as exc:
            return self._inner.throw(exc)
        return waiting


class _StandIn:
    """Whatever *port* is, watched."""

    def __init__(self, kind: str, port: object, life: Life) -> None:
        self.__kind, self.__port, self.__life = kind, port, life

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 # whatever it has
        if isinstance(inspect.getattr_static(self.__port, name, None), property):
            return self.__call(name, lambda: getattr(self.__port, name))
        value = getattr(self.__port, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self.__call(name, lambda: value(*args, **kwargs))

    def __call(self, name: str, act: Callable[[], Any]) -> Any:  # noqa: ANN401
        call = self.__life.call(self.__kind, name)
        call.reach("before")
        try:
            result = act()
        except Exception:
            call.reach("after")
            raise
        if inspect.iscoroutine(result):
            return _awaited(call, result)
        if isinstance(result, AbstractContextManager):
            return _Block(call, result)
        _left(call)
        call.reach("after")
        return result


async def _awaited(call: Call, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
    """Run *coroutine* with a point at each of its waits and one behind it."""
    waits = 0

    def wait() -> None:
        nonlocal waits
        waits += 1
        call.reach(f"wait{waits}")

    try:
        result = await Steps(coroutine, wait)
    except Exception:
        call.reach("after")
        raise
    _left(call)
    call.reach("after")
    return result


def _left(call: Call) -> None:
    """Note what has left the process by *call*; frames are noted on the wire."""
    if call.kind == "channel":
        call.sent()
    elif call.kind == "journal" and call.name not in READS:
        call.commit()


class _Block(AbstractContextManager[Any]):
    """A block of the port, as a transaction: the dead roll back."""

    def __init__(self, call: Call, block: AbstractContextManager[Any]) -> None:
        self._call = call
        self._block = block

    def __enter__(self) -> Any:  # noqa: ANN401 # whatever the block gives
        given = self._block.__enter__()
        self._call.life.blocks += 1
        try:
            self._call.reach("inside")
        except Killed as exc:
            self.__exit__(Killed, exc, exc.__traceback__)
            raise
        return given

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._call.life.blocks -= 1
        try:
            if error is None:
                self._call.reach("commit")
            elif not isinstance(error, Killed):
                self._call.life.check()
        except Killed as exc:
            self._block.__exit__(Killed, exc, exc.__traceback__)
            raise
        handled = self._block.__exit__(kind, error, trace)
        if error is None:
            self._call.commit()
            self._call.reach("after")
        return handled
