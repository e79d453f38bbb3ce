"""The requests about positions, account values and the session itself."""

from __future__ import annotations

from decimal import Decimal

from daemon.fakegateway import encode
from daemon.fakegateway.client import Client
from daemon.fakegateway.decode import Fields
from daemon.fakegateway.values import AccountValue, Holding

SUMMARY_LIMIT = 2
"""Account summaries that one session may have; one more is refused with 322."""
_EVERY_TAG = "All"


def managed_accounts(client: Client, _fields: Fields) -> None:
    """Answer with the accounts of this login (17)."""
    client.send(encode.managed_accounts(client.world.settings.accounts))


def current_time(client: Client, _fields: Fields) -> None:
    """Answer with the time (49)."""
    client.send(encode.current_time(client.world.clock.now()))


def ignore(_client: Client, _fields: Fields) -> None:
    """Take a request that has neither an effect nor an answer here."""


def positions(client: Client, _fields: Fields) -> None:
    """Answer with every position (61), and tell of changes from now on."""
    client.subscriptions.positions = True
    frames = [encode.position(holding) for holding in client.world.holdings()]
    client.send(*frames, encode.position_end())


def cancel_positions(client: Client, _fields: Fields) -> None:
    """End the telling of positions (64)."""
    client.subscriptions.positions = False


def account_updates(client: Client, fields: Fields) -> None:
    """Answer with one account whole (6), and tell of changes; or end that."""
    fields.skip("version")
    subscribe = fields.flag("subscribe")
    account = fields.text("acctCode") or client.world.settings.accounts[0]
    if not subscribe:
        client.subscriptions.account = None
        return
    if account not in client.world.settings.accounts:
        client.refuse(-1, 321, _validation(f"Invalid account code {account!r}."))
        return
    client.subscriptions.account = account
    client.send(
        *(encode.account_value(value) for value in _values(client, account)),
        *(_portfolio(client, each) for each in client.world.holdings(account)),
        encode.account_time(client.world.clock.now(), client.zone),
        encode.account_download_end(account),
    )


def account_updates_multi(client: Client, fields: Fields) -> None:
    """Answer with one account's values (76), and tell of changes from now on."""
    fields.skip("version")
    request_id = fields.integer("reqId")
    account = fields.text("account") or client.world.settings.accounts[0]
    fields.skip("modelCode", "ledgerAndNLV")
    if account not in client.world.settings.accounts:
        client.refuse(request_id, 321, _validation(f"Invalid account {account!r}."))
        return
    client.subscriptions.multi[request_id] = account
    client.send(
        *_multi(client, request_id, account),
        encode.account_update_multi_end(request_id),
    )


def cancel_account_updates_multi(client: Client, fields: Fields) -> None:
    """End one telling of account values (77)."""
    fields.skip("version")
    client.subscriptions.multi.pop(fields.integer("reqId"), None)


def account_summary(client: Client, fields: Fields) -> None:
    """Answer with the asked tags of every account (62)."""
    fields.skip("version")
    request_id = fields.integer("reqId")
    fields.skip("groupName")
    tags = {tag.strip() for tag in fields.text("tags").split(",")}
    summaries = client.subscriptions.summaries
    if request_id not in summaries and len(summaries) >= SUMMARY_LIMIT:
        text = "Maximum number of account summary requests exceeded"
        client.refuse(
            request_id, 322, f"Error processing request.-'bX' : cause - {text}"
        )
        return
    summaries.add(request_id)
    client.send(
        *(
            encode.account_summary(request_id, value)
            for account in client.world.settings.accounts
            for value in _values(client, account)
            if value.tag in tags or _EVERY_TAG in tags
        ),
        encode.account_summary_end(request_id),
    )


def cancel_account_summary(client: Client, fields: Fields) -> None:
    """End one account summary (63)."""
    fields.skip("version")
    client.subscriptions.summaries.discard(fields.integer("reqId"))


def holding_changed(client: Client, holding: Holding) -> None:
    """Tell of a changed position, and of the account values that it moves."""
    wanted = client.subscriptions
    if wanted.positions:
        client.send(encode.position(holding))
    if wanted.account == holding.account:
        values = _values(client, holding.account)
        client.send(
            _portfolio(client, holding),
            *(encode.account_value(each) for each in values),
        )
    for request_id, account in wanted.multi.items():
        if account == holding.account:
            client.send(*_multi(client, request_id, account))


def _values(client: Client, account: str) -> list[AccountValue]:
    return client.world.account_values(account)


def _multi(client: Client, request_id: int, account: str) -> list[bytes]:
    values = _values(client, account)
    return [encode.account_update_multi(request_id, value) for value in values]


def _portfolio(client: Client, holding: Holding) -> bytes:
    quote = client.world.quote(holding.contract.symbol)
    return encode.portfolio_value(holding, quote.last or quote.close or Decimal(0))


def _validation(text: str) -> str:
    return f"Error validating request.-'bX' : cause - {text}"
