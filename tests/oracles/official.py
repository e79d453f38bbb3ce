"""The installed official client, 9.81 or 10.x, behind one face."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from queue import Empty, Queue
from typing import Any

from ibapi.client import MAX_CLIENT_VER, EClient
from ibapi.contract import Contract
from ibapi.decoder import Decoder
from ibapi.order import Order
from ibapi.wrapper import EWrapper

MODERN = find_spec("ibapi.order_cancel") is not None
"""Whether this is a 10.x client: other signatures, Decimal quantities."""
VERSIONS = [version for version in range(157, 179) if version <= MAX_CLIENT_VER]

Event = tuple[str, tuple[Any, ...]]
PATIENCE_S = 20.0


class Recorder(EWrapper):
    """Turn every callback into an event."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[Event] = Queue()


def _recording(name: str) -> Callable[..., None]:
    def callback(self: Recorder, *args: Any) -> None:
        self.queue.put((name, args))

    # The decoders read the parameters of the class EWrapper, never of this one.
    return callback


for _name, _ in inspect.getmembers(EWrapper, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(Recorder, _name, _recording(_name))


class Official(Recorder, EClient):
    """The official client, connected, with its events in order."""

    def __init__(self) -> None:
        Recorder.__init__(self)
        EClient.__init__(self, wrapper=self)
        self.past: list[Event] = []

    def wait(self, name: str, accept: Callable[..., bool] = lambda *_: True) -> Any:
        """Return the arguments of the next event *name* that *accept* accepts.

        Events that passed before this call count too, each once.
        """
        deadline = time.monotonic() + PATIENCE_S
        seen = 0
        while True:
            for at in range(seen, len(self.past)):
                known, args = self.past[at]
                if known == name and accept(*args):
                    del self.past[at]
                    return args
            seen = len(self.past)
            try:
                left = max(deadline - time.monotonic(), 0)
                self.past.append(self.queue.get(timeout=left))
            except Empty:
                events = [known for known, _ in self.past]
                raise AssertionError(f"no {name} came, but {events}") from None

    def errors(self) -> list[tuple[Any, ...]]:
        """Return the errors so far that are no notices."""
        while not self.queue.empty():
            self.past.append(self.queue.get())
        found = [args for name, args in self.past if name == "error"]
        return [args for args in found if not _is_notice(args)]


def _is_notice(args: tuple[Any, ...]) -> bool:
    code = args[2] if MODERN and isinstance(args[2], int) else args[1]
    return 2100 <= code < 2200


def commission_event() -> str:
    """Return what this client calls a commission report."""
    modern = hasattr(EWrapper, "commissionAndFeesReport")
    return "commissionAndFeesReport" if modern else "commissionReport"


@contextmanager
def connected(port: int, client_id: int) -> Iterator[Official]:
    """Give a connected client whose threads end with it."""
    client = Official()
    client.connect("127.0.0.1", port, client_id)
    reader = client.reader
    loop = threading.Thread(target=client.run)
    loop.start()
    try:
        yield client
    finally:
        client.disconnect()
        loop.join(PATIENCE_S)
        reader.join(PATIENCE_S)


class Loose(Official):
    """A client without a socket: what it would send, and at which version."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.serverVersion_ = version
        self.sent: list[list[str]] = []

    def isConnected(self) -> bool:  # noqa: N802  # the client's name
        return True

    def sendMsg(self, *message: Any) -> None:  # noqa: N802  # the client's name
        fields = message[-1].split("\0")[:-1]
        head = [str(message[0])] if len(message) > 1 else []
        self.sent.append([*head, *fields])


def stock(symbol: str) -> Contract:
    """Return a US stock."""
    contract = Contract()
    contract.symbol, contract.secType = symbol, "STK"
    contract.exchange, contract.currency = "SMART", "USD"
    return contract


def order(action: str, quantity: int, kind: str, **fields: Any) -> Order:
    """Return an order whose 9.81 defaults a gateway would take."""
    made = Order()
    made.action, made.totalQuantity, made.orderType = action, quantity, kind
    made.eTradeOnly = made.firmQuoteOnly = False
    made.tif = "DAY"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def decode(message: list[bytes], version: int) -> list[Event]:
    """Return what the client's decoder makes of *message*, and insist on all of it.

    Raises AssertionError for a field left over, and whatever the decoder raises.
    """
    heard = Recorder()
    decoder = Decoder(heard, version)
    handle = decoder.msgId2handleInfo[int(message[0])]
    rest = message[1:] if MODERN else message
    if handle.wrapperMeth is not None:
        ignored = 1 if MODERN else 2
        expected = len(handle.wrapperParams) - 1
        assert len(rest) - ignored == expected, "the decoder would drop this message"
        decoder.interpretWithSignature(rest, handle)
    else:
        fields = iter(rest)
        handle.processMeth(decoder, fields)
        assert list(fields) == [], "fields are left over"
    return list(heard.queue.queue)
