from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import ib_async
import pytest

from daemon.fakegateway.api import Handle, Listener
from daemon.fakegateway.door import Door
from daemon.fakegateway.frames import frame
from daemon.fakegateway.session import GatewayProtocol
from daemon.fakegateway.values import (
    AccountValue,
    Bar,
    Broadcast,
    BrokerOrder,
    Commissioned,
    CommissionReport,
    Contract,
    Executed,
    Execution,
    GatewaySettings,
    Holding,
    HoldingChanged,
    Listing,
    Margin,
    OrderChanged,
    OrderError,
    OrderTicket,
    Quote,
    Refusal,
    StatusChanged,
)

NOON = datetime(2026, 2, 19, 17, 0, tzinfo=UTC)
NOV = Contract(
    con_id=9,
    symbol="NOV",
    primary_exchange="NYSE",
    local_symbol="NOV",
    trading_class="NOV",
)
STOCK = ib_async.Stock("NOV", "SMART", "USD")
TICKET = OrderTicket(
    order_id=5,
    contract=NOV,
    action="BUY",
    quantity=Decimal(196),
    order_type="LMT",
    limit_price=Decimal("14.2"),
    account="DU1234567",
    order_ref="r",
)
ORDER = BrokerOrder(ticket=TICKET, client_id=7, perm_id=77, status="Submitted")
EXECUTION = Execution(
    exec_id="e.01",
    perm_id=77,
    client_id=7,
    order_id=5,
    order_ref="r",
    account="DU1234567",
    contract=NOV,
    side="BOT",
    shares=Decimal(196),
    price=Decimal("14.2"),
    cum_quantity=Decimal(196),
    average_price=Decimal("14.2"),
    time=NOON,
)
FOREIGN = replace(EXECUTION, exec_id="f.01", client_id=9, side="SLD")
HOLDING = Holding("DU1234567", NOV, Decimal(196), Decimal("14.2"))


@dataclass(order=True)
class Timer:
    when: datetime
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class StubClock:
    """A clock that moves when the test says so."""

    def __init__(self) -> None:
        self.time = NOON
        self.timers: list[Timer] = []

    def now(self) -> datetime:
        return self.time

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        return self.call_at(self.time + timedelta(seconds=delay_s), callback)

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Handle:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        due = sorted(timer for timer in self.timers if timer.when <= self.time)
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled:
                timer.callback()


class StubWorld:
    """A world that holds what the test put there, and notes what it is told."""

    def __init__(self, **settings: object) -> None:
        self.settings = GatewaySettings(**settings)  # type: ignore[arg-type]
        self.clock = StubClock()
        self.door = Door()
        self.greeting: Refusal | None = None
        self.link_up = True
        self.listeners: dict[int, Listener] = {}
        self.cuts: dict[int, Callable[[], None] | None] = {}
        self.told: list[tuple[object, ...]] = []
        self.orders: list[BrokerOrder] = []
        self.completed: list[BrokerOrder] = []
        self.day: list[Execution] = []
        self.reports: list[CommissionReport] = []
        self.now_held: list[Holding] = []
        self.market = Quote(
            bid=Decimal("14.1"), ask=Decimal("14.3"), last=Decimal("14.2"), volume=10
        )
        self.history: list[Bar] = []
        self.answer: BrokerOrder | Refusal = Refusal(201, "no")

    def attach(
        self,
        client_id: int,
        listener: Listener,
        *,
        disconnect: Callable[[], None] | None = None,
    ) -> bool:
        if client_id in self.listeners:
            return False
        self.cuts[client_id] = disconnect
        self.listeners[client_id] = listener
        return True

    def detach(self, client_id: int) -> None:
        del self.listeners[client_id]

    def drop(self, client_id: int) -> None:
        cut = self.cuts[client_id]
        assert cut is not None
        cut()

    def next_valid_id(self, client_id: int) -> int:
        return 100 + client_id

    def place(self, client_id: int, ticket: OrderTicket) -> None:
        self.told.append(("place", client_id, ticket))

    def preview(self, client_id: int, ticket: OrderTicket) -> BrokerOrder | Refusal:
        self.told.append(("preview", client_id, ticket))
        return self.answer

    def cancel(self, client_id: int, order_id: int) -> None:
        self.told.append(("cancel", client_id, order_id))

    def global_cancel(self, client_id: int) -> None:
        self.told.append(("global_cancel", client_id))

    def open_orders(self, client_id: int) -> list[BrokerOrder]:
        return [order for order in self.orders if order.client_id == client_id]

    def all_open_orders(self) -> list[BrokerOrder]:
        return self.orders

    def completed_orders(self) -> list[BrokerOrder]:
        return self.completed

    def executions(self, client_id: int | None = None) -> list[Execution]:
        return [each for each in self.day if client_id in {None, each.client_id}]

    def commissions(self, executions: Iterable[Execution]) -> list[CommissionReport]:
        wanted = {execution.exec_id for execution in executions}
        return [report for report in self.reports if report.exec_id in wanted]

    def holdings(self, account: str | None = None) -> list[Holding]:
        return [each for each in self.now_held if account in {None, each.account}]

    def account_values(self, account: str) -> list[AccountValue]:
        return [
            AccountValue(account, "NetLiquidation", "1000000.00", "USD"),
            AccountValue(account, "BuyingPower", "4000000.00", "USD"),
        ]

    def resolve(self, contract: Contract) -> list[Listing]:
        known = contract.con_id == 9 or contract.symbol == "NOV"
        return [Listing(contract=NOV, long_name="NOV Inc")] if known else []

    def hours(self, listing: Listing) -> tuple[str, str]:
        assert listing.contract == NOV
        return "20260219:0400-20260219:2000", "20260219:0930-20260219:1600"

    def quote(self, symbol: str) -> Quote:
        assert symbol == "NOV"
        return self.market

    def bars(
        self, symbol: str, end: datetime, duration_s: int, bar_s: int
    ) -> list[Bar]:
        self.told.append(("bars", symbol, end, duration_s, bar_s))
        return self.history


class StubLog:
    """A log that keeps its events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_fields: object) -> None:
        self.events.append(event)

    warning = info


class Pipe(asyncio.Transport):
    """The server's end of a socket, as the test sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:  # type: ignore[override]
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def read(self) -> list[str]:
        """Return the messages since the last read, fields joined by a bar."""
        messages = []
        while self.data:
            end = 4 + int.from_bytes(self.data[:4], "big")
            messages.append(self.data[4 : end - 1].decode().replace("\0", "|"))
            self.data = self.data[end:]
        return messages


class Session:
    """One connection to a gateway with *world* behind it."""

    def __init__(self, world: StubWorld) -> None:
        self.pipe, self.log = Pipe(), StubLog()
        self.protocol = GatewayProtocol(world, log=self.log)
        self.protocol.connection_made(self.pipe)

    def feed(self, data: bytes) -> list[str]:
        self.protocol.data_received(data)
        return self.pipe.read()

    def ask(self, message: str) -> list[str]:
        return self.feed(frame(*message.split("|")))

    def greet(self, versions: bytes = b"v157..178") -> list[str]:
        return self.feed(b"API\0" + len(versions).to_bytes(4, "big") + versions)

    def drop(self) -> None:
        self.pipe.closed = True
        self.protocol.connection_lost(None)


def started(
    world: StubWorld, client_id: int = 7, versions: bytes = b"v157..178"
) -> Session:
    session = Session(world)
    session.greet(versions)
    session.ask(f"71|2|{client_id}|")
    return session


@pytest.fixture
def world() -> StubWorld:
    return StubWorld()


# --- greeting and start -----


@pytest.mark.parametrize(
    ("versions", "answer"),
    [
        (b"v157..178", "178"),
        (b"v100..157", "157"),
        (b"v100..176", "176"),
        (b"v100..225 +PACEAPI", "178"),
    ],
)
def test_the_lower_of_the_two_highest_versions_is_spoken(
    world: StubWorld, versions: bytes, answer: str
) -> None:
    assert Session(world).greet(versions) == [f"{answer}|20260219 12:00:00 EST"]


@pytest.mark.parametrize("versions", [b"v100..156", b"v179..225", b"hello"])
def test_a_client_without_a_common_version_is_closed(
    world: StubWorld, versions: bytes
) -> None:
    session = Session(world)
    assert session.greet(versions) == []
    assert session.pipe.closed


def test_nothing_but_the_version_is_sent_before_the_start(world: StubWorld) -> None:
    session = Session(world)
    session.greet()
    world.clock.advance(60)
    assert session.ask("49|1") == []
    assert session.log.events == ["gateway.message_too_early"]


def test_the_start_gives_accounts_next_id_and_the_farms(world: StubWorld) -> None:
    session = Session(world)
    session.greet()
    assert session.ask("71|2|7|") == [
        "15|1|DU1234567",
        "9|1|107",
        "4|2|-1|2104|Market data farm connection is OK:usfarm|",
        "4|2|-1|2106|HMDS data farm connection is OK:ushmds|",
        "4|2|-1|2158|Sec-def data farm connection is OK:secdefil|",
    ]


def test_a_held_client_id_gets_326_alone_and_the_close_later(world: StubWorld) -> None:
    started(world)
    second = Session(world)
    second.greet()
    assert second.ask("71|2|7|") == [
        (
            "4|2|-1|326|Unable to connect as the client id is already in use. "
            "Retry with a unique client id.|"
        )
    ]
    world.clock.advance(0.69)
    assert second.ask("49|1") == []
    assert not second.pipe.closed
    world.clock.advance(0.02)
    assert second.pipe.closed
    second.drop()
    assert list(world.listeners) == [7]


def test_a_close_frees_the_client_id_at_once(world: StubWorld) -> None:
    started(world).drop()
    assert world.listeners == {}
    session = Session(world)
    session.greet()
    assert session.ask("71|2|7|")[1] == "9|1|107"


def test_the_world_can_cut_a_session(world: StubWorld) -> None:
    session = started(world)
    world.drop(7)
    assert session.pipe.closed
    assert session.ask("49|1") == []


def test_a_session_that_never_started_leaves_without_a_trace(world: StubWorld) -> None:
    session = Session(world)
    session.greet()
    session.drop()
    assert world.told == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"API\0\xff\xff\xff\xff"])
def test_a_stream_that_is_not_the_protocol_is_closed(
    world: StubWorld, data: bytes
) -> None:
    session = Session(world)
    assert session.feed(data) == []
    assert session.pipe.closed
    assert session.log.events == ["gateway.stream_malformed"]


def test_the_segmentation_makes_no_difference(world: StubWorld) -> None:
    stream = b"API\0\0\0\0\x09v157..178" + frame("71", "2", "7", "") + frame("49", "1")
    glued = Session(world)
    expected = glued.feed(stream)
    glued.drop()
    session = Session(world)
    one_by_one = [
        message
        for at in range(len(stream))
        for message in session.feed(stream[at : at + 1])
    ]
    assert one_by_one == expected
    assert expected[-1] == "49|1|1771520400"


# --- requests -----


def test_the_sync_of_a_fresh_account_is_only_its_ends(world: StubWorld) -> None:
    session = started(world)
    assert session.ask("61|1") == ["62|1"]
    assert session.ask("5|1") == ["53|1"]
    assert session.ask("99|0") == ["102"]
    assert session.ask("7|3|11|0||||||") == ["55|1|11"]
    assert session.ask("6|2|1|DU1234567") == [
        "6|2|NetLiquidation|1000000.00|USD|DU1234567",
        "6|2|BuyingPower|4000000.00|USD|DU1234567",
        "8|1|12:00",
        "54|1|DU1234567",
    ]
    assert session.ask("76|1|12|DU1234567||0") == [
        "73|1|12|DU1234567||NetLiquidation|1000000.00|USD",
        "73|1|12|DU1234567||BuyingPower|4000000.00|USD",
        "74|1|12",
    ]


def test_open_orders_are_own_and_all_open_orders_everybodys(world: StubWorld) -> None:
    other = replace(ORDER, client_id=9, perm_id=99)
    world.orders = [ORDER, other]
    session = started(world)
    own = session.ask("5|1")
    assert [message.split("|")[0] for message in own] == ["5", "3", "53"]
    everybody = session.ask("16|1")
    assert [message.split("|")[0] for message in everybody] == [
        "5",
        "3",
        "5",
        "3",
        "53",
    ]
    assert everybody[3] == "3|5|Submitted|0|196|0.0|99|0|0.0|9||0"


def test_completed_orders_are_named_by_perm_id(world: StubWorld) -> None:
    world.completed = [replace(ORDER, status="Filled", completed_at=NOON)]
    messages = started(world).ask("99|1")
    assert messages[0].split("|")[23] == "77"
    assert messages[-1] == "102"


def test_executions_come_with_the_commissions_that_this_client_may_see(
    world: StubWorld,
) -> None:
    world.day = [EXECUTION, FOREIGN]
    world.reports = [
        CommissionReport("e.01", Decimal(1)),
        CommissionReport("f.01", Decimal(1)),
    ]
    kinds = [m.split("|")[0] for m in started(world).ask("7|3|11|0||||||")]
    assert kinds == ["11", "59", "11", "55"]


def test_the_master_client_sees_every_commission() -> None:
    world = StubWorld(master_client_id=3)
    world.day = [EXECUTION, FOREIGN]
    world.reports = [
        CommissionReport("e.01", Decimal(1)),
        CommissionReport("f.01", Decimal(1)),
    ]
    kinds = [m.split("|")[0] for m in started(world, 3).ask("7|3|11|0||||||")]
    assert kinds == ["11", "59", "11", "59", "55"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("0||||||", ["e.01", "f.01"]),
        ("9||||||", ["f.01"]),
        ("0|DU1234567|||||", ["e.01", "f.01"]),
        ("0|DU9|||||", []),
        ("0|||AAPL|||", []),
        ("0|||NOV|STK|IEX|SELL", ["f.01"]),
        ("0||||||BUY", ["e.01"]),
        ("0||20260219-17:00:00||||", ["e.01", "f.01"]),
        ("0||20260219 12:00:01||||", []),
    ],
)
def test_an_execution_filter_filters(
    world: StubWorld, wanted: str, found: list[str]
) -> None:
    world.day = [EXECUTION, FOREIGN]
    messages = started(world).ask(f"7|3|11|{wanted}")
    assert [m.split("|")[14] for m in messages[:-1]] == found


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("8|1|1", "9|1|107"), ("8|1|many", "9|1|-1"), ("17|1", "15|1|DU1234567")],
)
def test_ids_and_accounts_are_given_again(
    world: StubWorld, asked: str, answer: str
) -> None:
    assert started(world).ask(asked) == [answer]


def test_two_account_summaries_are_the_most(world: StubWorld) -> None:
    session = started(world)
    assert session.ask("62|1|1|All|NetLiquidation,Cushion") == [
        "63|1|1|DU1234567|NetLiquidation|1000000.00|USD",
        "64|1|1",
    ]
    session.ask("62|1|2|All|BuyingPower")
    third = session.ask("62|1|3|All|BuyingPower")
    assert [m.split("|")[2:4] for m in third] == [["3", "322"]]
    assert session.ask("62|1|2|All|NetLiquidation")[-1] == "64|1|2"
    session.ask("63|1|1")
    assert session.ask("62|1|3|All|BuyingPower")[-1] == "64|1|3"


@pytest.mark.parametrize("asked", ["6|2|1|DU9", "76|1|12|DU9||0"])
def test_a_foreign_account_is_refused(world: StubWorld, asked: str) -> None:
    (message,) = started(world).ask(asked)
    assert message.split("|")[3] == "321"


def test_contract_details_name_the_contract_and_its_hours(world: StubWorld) -> None:
    details, end = started(world).ask("9|8|4|0|NOV|STK|||||SMART||USD|||0|||")
    fields = details.split("|")
    assert fields[:3] == ["10", "4", "NOV"]
    assert fields[12:14] == ["NOV", "9"] or "9" in fields
    assert "20260219:0930-20260219:1600" in fields
    assert end == "52|1|4"


@pytest.mark.parametrize(
    "asked",
    [
        "9|8|4|0|NONE|STK|||||SMART||USD|||0|||",
        "1|11|4|0|NONE|STK|||||SMART||USD|||0||1|0|",
        "20|4|0|NONE|STK|||||SMART||USD|||0||1 min|1 D|1|TRADES|1|0|",
    ],
)
def test_an_unknown_contract_is_200(world: StubWorld, asked: str) -> None:
    assert started(world).ask(asked) == [
        "4|2|4|200|No security definition has been found for the request|"
    ]


def test_a_snapshot_is_the_quote_and_its_end(world: StubWorld) -> None:
    session = started(world)
    assert session.ask("59|1|3") == []
    assert session.ask("1|11|4|9|NOV|STK|||||SMART||USD|||0||1|0|") == [
        "58|1|4|1",
        "81|4|0.01|9c0001|3",
        "1|6|4|1|14.1|0|0",
        "1|6|4|2|14.3|0|0",
        "1|6|4|4|14.2|0|0",
        "2|6|4|8|10",
        "57|1|4",
    ]
    world.market = replace(world.market, bid=Decimal("14.15"))
    world.clock.advance(10)
    assert session.pipe.read() == []


def test_a_stream_tells_only_what_moved_until_it_is_cancelled(world: StubWorld) -> None:
    session = started(world)
    session.ask("1|11|4|9|NOV|STK|||||SMART||USD|||0||0|0|")
    world.clock.advance(1)
    assert session.pipe.read() == []
    world.market = replace(world.market, bid=Decimal("14.15"))
    world.clock.advance(1)
    assert session.pipe.read() == ["1|6|4|1|14.15|0|0"]
    assert session.ask("2|2|4") == []
    world.market = replace(world.market, bid=Decimal("14.2"))
    world.clock.advance(1)
    assert session.pipe.read() == []
    assert session.ask("2|2|4")[0].split("|")[3] == "300"


def test_a_request_id_streams_once(world: StubWorld) -> None:
    session = started(world)
    asked = "1|11|4|9|NOV|STK|||||SMART||USD|||0||0|0|"
    session.ask(asked)
    (message,) = session.ask(asked)
    assert message.split("|")[2:4] == ["4", "322"]


def test_a_stream_ends_with_its_session(world: StubWorld) -> None:
    session = started(world)
    session.ask("1|11|4|9|NOV|STK|||||SMART||USD|||0||0|0|")
    session.drop()
    assert all(timer.cancelled for timer in world.clock.timers)


BAR = Bar(
    start=datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    open=Decimal(14),
    high=Decimal(15),
    low=Decimal(13),
    close=Decimal("14.5"),
    volume=100,
    wap=Decimal("14.2"),
    count=3,
)


@pytest.mark.parametrize(
    ("size", "date_format", "versions", "date"),
    [
        ("1 min", "1", b"v157..178", "20260219 09:30:00 America/New_York"),
        ("1 min", "1", b"v100..157", "20260219  09:30:00"),
        ("1 min", "2", b"v157..178", "1771511400"),
        ("1 day", "1", b"v157..178", "20260219"),
    ],
)
def test_bars_are_dated_as_asked(
    world: StubWorld, size: str, date_format: str, versions: bytes, date: str
) -> None:
    world.history = [BAR]
    session = started(world, versions=versions)
    asked = f"20|4|9|NOV|STK|||||SMART||USD|||0||{size}|1 D|1|TRADES|{date_format}|0|"
    fields = session.ask(asked)[0].split("|")
    assert fields[0:2] == ["17", "4"]
    assert fields[4:] == ["1", date, "14.0", "15.0", "13.0", "14.5", "100", "14.2", "3"]


@pytest.mark.parametrize(("keep", "history"), [("0", []), ("1", [BAR])])
def test_no_bars_are_162_and_never_an_empty_answer(
    world: StubWorld, keep: str, history: list[Bar]
) -> None:
    world.history = history
    asked = f"20|4|9|NOV|STK|||||SMART||USD|||0||1 min|1 D|1|TRADES|1|{keep}|"
    (message,) = started(world).ask(asked)
    assert message.split("|")[2:4] == ["4", "162"]


def test_a_cancel_of_a_query_that_was_answered_is_366(world: StubWorld) -> None:
    (message,) = started(world).ask("25|1|4")
    assert message.split("|")[2:4] == ["4", "366"]


def test_a_market_rule_is_its_increments(world: StubWorld) -> None:
    session = started(world)
    assert session.ask("91|26") == ["93|26|1|0.0|0.01"]
    assert session.ask("91|27")[0].split("|")[3] == "321"


@pytest.mark.parametrize("asked", ["12|1|1", "999", "x|1", "71|2|7|"])
def test_an_unknown_message_is_505_and_the_session_goes_on(
    world: StubWorld, asked: str
) -> None:
    session = started(world)
    (message,) = session.ask(asked)
    assert message.startswith("4|2|-1|505|Fatal Error: Unknown message id.")
    assert session.ask("49|1") == ["49|1|1771520400"]


def test_a_malformed_order_is_320_on_its_id_and_the_session_goes_on(
    world: StubWorld,
) -> None:
    session = started(world)
    (message,) = session.ask("3|42|9|NOV")
    assert message.startswith("4|2|42|320|Error reading request: the message ends")
    assert session.ask("49|1") == ["49|1|1771520400"]
    assert world.told == []


@pytest.mark.parametrize(
    ("asked", "subject"),
    [
        ("3|x|9|NOV", "-1"),
        ("9|8|4|9|NOV", "4"),
        ("20|4|9|NOV|STK|||||SMART||USD|||0||1 min|long|1|TRADES|1|0|", "4"),
        ("7|3|11|0||soon|||||", "11"),
        ("6|2|maybe|DU1234567", "-1"),
    ],
)
def test_an_error_names_the_request_that_it_is_about(
    world: StubWorld, asked: str, subject: str
) -> None:
    (message,) = started(world).ask(asked)
    assert message.split("|")[2:4] == [subject, "320"]


def test_only_client_0_may_bind_manual_orders(world: StubWorld) -> None:
    assert started(world, 0).ask("15|1|1") == []
    assert started(world, 7).ask("15|1|1")[0].split("|")[3] == "321"


# --- pacing -----


def test_the_third_message_above_the_rate_ends_the_session(world: StubWorld) -> None:
    session = started(world)
    answers = [session.ask("49|1") for _ in range(50)]
    assert all(answer == ["49|1|1771520400"] for answer in answers)
    first, second, third = (session.ask("49|1") for _ in range(3))
    assert first == second == third
    assert first[0].split("|")[2:4] == ["-1", "100"]
    assert session.pipe.closed


def test_the_rate_is_over_a_sliding_second(world: StubWorld) -> None:
    session = started(world)
    for _ in range(50):
        session.ask("49|1")
    world.clock.advance(1)
    assert session.ask("49|1") == ["49|1|1771520401"]
    assert not session.pipe.closed


# --- orders: the wire to the world -----


class Sender(ib_async.client.Client):
    """ib_async's client, writing into a list."""

    def __init__(self, version: int = 178) -> None:
        super().__init__(ib_async.IB().wrapper)
        self._serverVersion = version
        self.sent: list[bytes] = []

    def isConnected(self) -> bool:  # noqa: N802  # ib_async's name
        return True

    def sendMsg(self, msg: str) -> None:  # noqa: N802  # ib_async's name
        self.sent.append(len(msg).to_bytes(4, "big") + msg.encode())


def order_bytes(order: ib_async.Order) -> bytes:
    sender = Sender()
    sender.placeOrder(5, STOCK, order)
    return sender.sent[0]


async def test_an_order_reaches_the_world_as_its_client_sent_it(
    world: StubWorld,
) -> None:
    order = ib_async.LimitOrder("BUY", 196, 14.2, orderRef="r", transmit=False)
    assert started(world).feed(order_bytes(order)) == []
    ((what, client_id, ticket),) = world.told
    assert (what, client_id) == ("place", 7)
    assert isinstance(ticket, OrderTicket)
    assert (ticket.order_id, ticket.limit_price) == (5, Decimal("14.2"))
    assert (ticket.order_ref, ticket.transmit) == ("r", False)


async def test_a_preview_is_answered_by_its_margins_or_its_refusal(
    world: StubWorld,
) -> None:
    session = started(world)
    order = ib_async.LimitOrder("BUY", 196, 14.2, whatIf=True)
    assert session.feed(order_bytes(order))[0].split("|")[2:5] == ["5", "201", "no"]
    margin = Margin(init_change=Decimal(5))
    world.answer = replace(ORDER, ticket=replace(TICKET, what_if=True), margin=margin)
    (message,) = session.feed(order_bytes(order))
    assert message.split("|")[0] == "5"
    assert message.split("|")[97] == "5.0"
    assert [told[0] for told in world.told] == ["preview", "preview"]


def test_cancels_reach_the_world(world: StubWorld) -> None:
    session = started(world)
    assert session.ask("4|1|5|") == []
    assert session.ask("58|1") == []
    assert world.told == [("cancel", 7, 5), ("global_cancel", 7)]


async def test_a_read_only_gateway_refuses_orders_and_their_lists() -> None:
    world = StubWorld(read_only=True)
    session = started(world)
    order = order_bytes(ib_async.MarketOrder("BUY", 1))
    answers = [
        *session.feed(order),
        *session.ask("4|1|5|"),
        *session.ask("58|1"),
        *session.ask("5|1"),
        *session.ask("16|1"),
        *session.ask("99|0"),
    ]
    heads = [answer.split("|")[2:4] for answer in answers]
    assert heads == [["5", "321"], ["5", "321"], *[["-1", "321"]] * 4]
    assert answers[0].split("|")[4].endswith("currently in Read-Only mode.")
    assert world.told == []
    assert session.ask("61|1") == ["62|1"]


# --- orders: the world to the wire -----


def heads(session: Session) -> list[list[str]]:
    return [message.split("|")[:4] for message in session.pipe.read()]


def test_events_become_messages_in_their_order(world: StubWorld) -> None:
    session = started(world)
    tell = world.listeners[7]
    filled = replace(ORDER, status="Filled", filled=Decimal(196))
    tell(OrderChanged(ORDER))
    tell(StatusChanged(ORDER))
    tell(Executed(EXECUTION))
    tell(StatusChanged(filled))
    tell(Commissioned(CommissionReport("e.01", Decimal(1)), 7, "DU1234567"))
    tell(OrderError(7, 5, Refusal(202, "Order Canceled - reason:")))
    tell(Broadcast(Refusal(1100, "Connectivity has been lost.")))
    assert heads(session) == [
        ["5", "5", "9", "NOV"],
        ["3", "5", "Submitted", "0"],
        ["11", "-1", "5", "9"],
        ["3", "5", "Filled", "196"],
        ["59", "1", "e.01", "1.0"],
        ["4", "2", "5", "202"],
        ["4", "2", "-1", "1100"],
    ]


def test_positions_are_told_to_those_who_asked_and_until_they_cancel(
    world: StubWorld,
) -> None:
    session = started(world)
    tell = world.listeners[7]
    tell(HoldingChanged(HOLDING))
    assert heads(session) == []
    world.now_held = [HOLDING]
    assert session.ask("61|1")[0] == (
        "61|3|DU1234567|9|NOV|STK||0|||NYSE|USD|NOV|NOV|196|14.2"
    )
    tell(HoldingChanged(HOLDING))
    assert heads(session) == [["61", "3", "DU1234567", "9"]]
    session.ask("64|1")
    tell(HoldingChanged(HOLDING))
    assert heads(session) == []


def test_a_changed_position_refreshes_the_account(world: StubWorld) -> None:
    session = started(world)
    session.ask("6|2|1|")
    session.ask("76|1|12|||0")
    world.listeners[7](HoldingChanged(HOLDING))
    assert [head[0] for head in heads(session)] == ["7", "6", "6", "73", "73"]
    session.ask("6|2|0|")
    session.ask("77|1|12")
    world.listeners[7](HoldingChanged(HOLDING))
    assert heads(session) == []


def test_a_change_elsewhere_leaves_an_account_untold() -> None:
    world = StubWorld(accounts=("DU1", "DU2"))
    session = started(world)
    session.ask("6|2|1|DU1")
    session.ask("76|1|12|DU1||0")
    world.listeners[7](HoldingChanged(replace(HOLDING, account="DU2")))
    assert heads(session) == []


def test_the_portfolio_is_valued_at_the_last_price(world: StubWorld) -> None:
    world.now_held = [HOLDING]
    world.market = replace(world.market, last=Decimal("15.2"))
    portfolio = started(world).ask("6|2|1|DU1234567")[2]
    assert portfolio.split("|")[13:] == [
        *("196", "15.2", "2979.2", "14.2", "196.0", "0.0", "DU1234567"),
    ]


def test_completed_orders_come_unasked_only_where_set_so() -> None:
    filled = replace(ORDER, status="Filled", filled=Decimal(196))
    quiet, world = StubWorld(), StubWorld(unsolicited_completed_orders=True)
    for each in (quiet, world):
        session = started(each)
        each.listeners[7](StatusChanged(filled))
        assert [head[0] for head in heads(session)] == ["3"]
        session.ask("99|0")
        each.listeners[7](StatusChanged(ORDER))
        each.listeners[7](StatusChanged(filled))
        kinds = [head[0] for head in heads(session)]
        assert kinds == (["3", "3"] if each is quiet else ["3", "3", "101"])
