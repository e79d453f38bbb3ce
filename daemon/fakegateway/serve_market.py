"""The requests about contracts, quotes and bars."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from daemon.fakegateway import decode, encode
from daemon.fakegateway.client import Client, Ticker
from daemon.fakegateway.decode import Fields
from daemon.fakegateway.values import Bar, Listing, Quote

NO_DEFINITION = "No security definition has been found for the request"
"""The text of code 200."""
DUPLICATE_TICKER = "Error processing request.-'bW' : cause - Duplicate ticker id"
TICK_INTERVAL_S = 1.0
"""How often a streaming request looks for a new quote."""
_LIVE = 1
_DAY_S = 86_400
# IBKR's tick types.
_BID_SIZE, _BID, _ASK, _ASK_SIZE, _LAST, _LAST_SIZE = 0, 1, 2, 3, 4, 5
_HIGH, _LOW, _VOLUME, _CLOSE, _OPEN = 6, 7, 8, 9, 14


def contract_details(client: Client, fields: Fields) -> None:
    """Answer with every listing that the contract names (9)."""
    request_id, contract = decode.contract_details(fields, client.version)
    listings = client.world.resolve(contract)
    if not listings:
        client.refuse(request_id, 200, NO_DEFINITION)
        return
    client.send(
        *(_details(client, request_id, listing) for listing in listings),
        encode.contract_details_end(request_id),
    )


def market_rule(client: Client, fields: Fields) -> None:
    """Answer with the price increments of a rule (91)."""
    rule_id = fields.text("marketRuleId")
    if rule_id != encode.US_STOCK_RULE:
        client.refuse(-1, 321, f"Invalid market rule id {rule_id!r}.")
        return
    client.send(encode.market_rule(rule_id, [(Decimal(0), Decimal("0.01"))]))


def market_data(client: Client, fields: Fields) -> None:
    """Answer with the quote (1), once for a snapshot, else as it moves."""
    request = decode.market_data(fields)
    listings = client.world.resolve(request.contract)
    if not listings:
        client.refuse(request.request_id, 200, NO_DEFINITION)
        return
    request_id, listing = request.request_id, listings[0]
    if request_id in client.subscriptions.tickers:
        client.refuse(request_id, 322, DUPLICATE_TICKER)
        return
    ticker = Ticker(listing.contract.symbol)
    client.send(
        encode.market_data_type(request_id, _LIVE),
        encode.tick_request_parameters(request_id, listing.min_tick),
    )
    if request.snapshot:
        _show(client, request_id, ticker)
        client.send(encode.tick_snapshot_end(request_id))
        return
    client.subscriptions.tickers[request_id] = ticker
    _stream(client, request_id, ticker)


def cancel_market_data(client: Client, fields: Fields) -> None:
    """End a streaming request (2)."""
    fields.skip("version")
    request_id = fields.integer("reqId")
    ticker = client.subscriptions.tickers.pop(request_id, None)
    if ticker is None:
        client.refuse(request_id, 300, f"Can't find EId with tickerId:{request_id}")
    elif ticker.timer is not None:
        ticker.timer.cancel()


def historical_data(client: Client, fields: Fields) -> None:
    """Answer with bars (20)."""
    request = decode.history(fields, client.world.clock.now(), client.zone)
    listings = client.world.resolve(request.contract)
    if not listings:
        client.refuse(request.request_id, 200, NO_DEFINITION)
        return
    if request.keep_up_to_date:
        _no_history(client, request.request_id, "bars that keep up are not served")
        return
    symbol = listings[0].contract.symbol
    bars = client.world.bars(symbol, request.end, request.duration_s, request.bar_s)
    if not bars:
        _no_history(
            client,
            request.request_id,
            f"HMDS query returned no data: {symbol}@SMART Trades",
        )
        return
    dated = partial(
        _bar_date,
        daily=request.bar_s >= _DAY_S,
        epoch=request.epoch_dates,
        zone=client.zone,
        version=client.version,
    )
    span = (
        encode.wall_time(bars[0].start, client.zone, client.version),
        encode.wall_time(request.end, client.zone, client.version),
    )
    rows = [(dated(bar), bar) for bar in bars]
    client.send(encode.historical_data(request.request_id, span, rows))


def cancel_historical_data(client: Client, fields: Fields) -> None:
    """Refuse the cancel (25): every query was already answered."""
    fields.skip("version")
    request_id = fields.integer("reqId")
    text = f"No historical data query found for ticker id:{request_id}"
    client.refuse(request_id, 366, text)


# --- helpers -----------------------------------------------------------------


def _details(client: Client, request_id: int, listing: Listing) -> bytes:
    hours = client.world.hours(listing)
    return encode.contract_details(request_id, listing, hours, client.version)


def _stream(client: Client, request_id: int, ticker: Ticker) -> None:
    _show(client, request_id, ticker)
    again = partial(_stream, client, request_id, ticker)
    ticker.timer = client.world.clock.call_later(TICK_INTERVAL_S, again)


def _show(client: Client, request_id: int, ticker: Ticker) -> None:
    quote = client.world.quote(ticker.symbol)
    client.send(*_ticks(request_id, ticker.shown, quote))
    ticker.shown = quote


def _ticks(request_id: int, shown: Quote, quote: Quote) -> list[bytes]:
    """Return what moved between *shown* and *quote*."""
    priced = (
        (_BID, shown.bid, quote.bid, quote.bid_size),
        (_ASK, shown.ask, quote.ask, quote.ask_size),
        (_LAST, shown.last, quote.last, quote.last_size),
        (_HIGH, shown.high, quote.high, 0),
        (_LOW, shown.low, quote.low, 0),
        (_OPEN, shown.open, quote.open, 0),
        (_CLOSE, shown.close, quote.close, 0),
    )
    sized = (
        (_BID_SIZE, shown.bid_size, quote.bid_size),
        (_ASK_SIZE, shown.ask_size, quote.ask_size),
        (_LAST_SIZE, shown.last_size, quote.last_size),
        (_VOLUME, shown.volume, quote.volume),
    )
    prices = [
        encode.tick_price(request_id, tick, price, size)
        for tick, before, price, size in priced
        if price is not None and price != before
    ]
    sizes = [
        encode.tick_size(request_id, tick, size)
        for tick, before, size in sized
        if size != before
    ]
    return prices + sizes


def _no_history(client: Client, request_id: int, reason: str) -> None:
    text = f"Historical Market Data Service error message:{reason}"
    client.refuse(request_id, 162, text)


def _bar_date(
    bar: Bar, *, daily: bool, epoch: bool, zone: ZoneInfo, version: int
) -> str:
    start: datetime = bar.start
    if daily:
        return f"{start.astimezone(zone):%Y%m%d}"
    if epoch:
        return str(int(start.timestamp()))
    return encode.wall_time(start, zone, version)
