"""The instruments of the fake exchange, and those it makes up on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from hashlib import blake2b

from daemon.fakegateway.values import Contract, Listing

UNLISTED_PREFIX = "ZZ"
"""No symbol that begins so exists: error 200."""
_PLAUSIBLE = re.compile(r"[A-Z]{1,5}([ .][A-Z]{1,3})?")
_INVENTED_FROM, _INVENTED_SPAN = 700_000_000, 100_000_000
_EXCHANGES = ("NYSE", "NASDAQ")

_ROWS = """
AAPL|265598|NASDAQ|265.40|Apple Inc
ADBE|265768|NASDAQ|258.10|Adobe Inc
AKAM|266014|NASDAQ|104.20|Akamai Technologies Inc
AMD|4391|NASDAQ|203.30|Advanced Micro Devices
AMH|131217639|NYSE|31.05|American Homes 4 Rent
AMZN|3691937|NASDAQ|204.80|Amazon.com Inc
ARMN|673421201|NYSE|16.60|Aris Mining Corp
AVDL.CVR|812093314|NASDAQ|0.35|Avadel Pharmaceuticals - CVR
BHP|4721|NYSE|71.30|BHP Group Ltd - Spon ADR
BLCO|562096813|NYSE|16.30|Bausch + Lomb Corp
BRK B|72063691|NYSE|498.20|Berkshire Hathaway Inc - Cl B
CENX|269056|NASDAQ|48.70|Century Aluminum Co
CNC|11017165|NYSE|41.90|Centene Corp
CNX|299137583|NYSE|38.60|CNX Resources Corp
CRGY|528829871|NYSE|9.85|Crescent Energy Co
CUK|12349514|NYSE|31.20|Carnival PLC - ADR
DTE|4150|NYSE|141.50|DTE Energy Co
EGP|5109|NYSE|183.20|EastGroup Properties Inc
EMN|5178|NYSE|74.40|Eastman Chemical Co
EOG|5268|NYSE|121.90|EOG Resources Inc
EVRG|318456871|NYSE|80.10|Evergy Inc
FORM|10753248|NASDAQ|93.30|FormFactor Inc
GOOG|208813720|NASDAQ|304.10|Alphabet Inc - Cl C
HYMC|421298871|NASDAQ|35.80|Hycroft Mining Holding Corp
IRDM|65905402|NASDAQ|20.40|Iridium Communications Inc
JPM|1520593|NYSE|307.60|JPMorgan Chase & Co
KMI|85072861|NYSE|31.70|Kinder Morgan Inc
LASR|313170012|NASDAQ|55.90|nLIGHT Inc
LBRT|303019419|NYSE|27.30|Liberty Energy Inc
LH|13087|NYSE|281.30|Labcorp Holdings Inc
LION|645018331|NASDAQ|9.10|Lionsgate Studios Corp
MRNA|344809106|NASDAQ|44.90|Moderna Inc
MSFT|272093|NASDAQ|399.60|Microsoft Corp
NBIS|736401208|NASDAQ|97.80|Nebius Group NV
NOV|10291|NYSE|19.20|NOV Inc
NSA|192537712|NYSE|33.40|National Storage Affiliates
NVDA|4815747|NASDAQ|187.90|NVIDIA Corp
ON|13096127|NASDAQ|71.20|ON Semiconductor
SBRA|81862001|NASDAQ|20.30|Sabra Health Care REIT
SPY|756733|ARCA|686.30|State Street SPDR S&P 500 ETF
SQM|8245071|NYSE|76.80|Quimica y Minera Chile - ADR
ST|74550217|NYSE|35.70|Sensata Technologies Holding
UUUU|164210312|AMEX|21.60|Energy Fuels Inc
VLO|12781|NYSE|203.70|Valero Energy Corp
WEC|13965|NYSE|115.79|WEC Energy Group Inc
XOM|13977|NYSE|150.90|Exxon Mobil Corp
"""
_UNTRADABLE = frozenset({"AVDL.CVR"})
_FUNDS = frozenset({"SPY"})


def default_listings() -> tuple[Listing, ...]:
    """Return the instruments that stand ready."""
    return tuple(
        _listing(symbol, int(con_id), exchange, name)
        for symbol, con_id, exchange, _, name in _rows()
    )


def reference_prices() -> dict[str, Decimal]:
    """Return a price of about February 2026 for each default listing, in USD."""
    return {symbol: Decimal(price) for symbol, _, _, price, _ in _rows()}


def invent(symbol: str) -> Listing | None:
    """Return a listing for any plausible *symbol*, always the same; else None."""
    if symbol.startswith(UNLISTED_PREFIX) or not _PLAUSIBLE.fullmatch(symbol):
        return None
    digest = int.from_bytes(blake2b(symbol.encode(), digest_size=8).digest(), "big")
    con_id = _INVENTED_FROM + digest % _INVENTED_SPAN
    return _listing(symbol, con_id, _EXCHANGES[digest % 2], f"{symbol} Corp")


class Directory:
    """The listings by conId and by symbol; each is announced when it comes to be."""

    def __init__(
        self, listings: Iterable[Listing], announce: Callable[[Listing], None]
    ) -> None:
        self._announce = announce
        self._by_symbol: dict[str, Listing] = {}
        self._by_con_id: dict[int, Listing] = {}
        for listing in listings:
            self._add(listing)

    def find(self, contract: Contract) -> Listing | None:
        """Return the listing that *contract* names, making it up if plausible."""
        if contract.con_id:
            return self._by_con_id.get(contract.con_id)
        if contract.sec_type != "STK" or contract.currency not in {"", "USD"}:
            return None
        symbol = contract.symbol or contract.local_symbol
        known = self._by_symbol.get(symbol)
        if known is None:
            known = invent(symbol)
            if known is not None:
                self._add(known)
        return known

    def _add(self, listing: Listing) -> None:
        self._by_symbol[listing.contract.symbol] = listing
        self._by_con_id[listing.contract.con_id] = listing
        self._announce(listing)


def _rows() -> list[list[str]]:
    return [line.split("|") for line in _ROWS.strip().splitlines()]


def _listing(symbol: str, con_id: int, exchange: str, name: str) -> Listing:
    contract = Contract(
        con_id=con_id,
        symbol=symbol,
        primary_exchange=exchange,
        local_symbol=symbol,
        trading_class="NMS" if exchange == "NASDAQ" else symbol,
    )
    listing = Listing(contract, name, tradable=symbol not in _UNTRADABLE)
    return replace(listing, stock_type="ETF") if symbol in _FUNDS else listing
