"""placeOrder, message 3, with all the fields that depend on others."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from daemon.fakegateway.decode import (
    MANUAL_TIME,
    DecodeError,
    Fields,
    read_contract,
    skip_delta_neutral_contract,
)
from daemon.fakegateway.values import Contract, OrderTicket

FA_PROFILE_GONE = 177
DURATION = 158
POST_TO_ATS = 160
AUTO_CANCEL_PARENT = 162
ADVANCED_REJECT = 166
PEG_OFFSETS = 170

_INFINITY = {"infinity", "infinite", "inf"}
_CONDITION_FIELDS = {"1": 6, "3": 3, "4": 3, "5": 4, "6": 5, "7": 5}
"""After the type: conjunction, operator, value, and what the type adds."""


def place_order(fields: Fields, version: int) -> OrderTicket:
    """Return the order of message 3 (after its id); it has no version field."""
    order_id = fields.integer("orderId")
    contract = read_contract(fields)
    fields.skip("secIdType", "secId")
    ticket = _order_head(fields, order_id, contract)
    if contract.sec_type == "BAG":
        _skip_combo(fields)
    ticket = _order_middle(fields, ticket, version)
    _skip_special_prices(fields)
    ticket = _order_algo(fields, ticket)
    _skip_tail(fields, ticket, version)
    fields.end()
    return ticket


def _order_head(fields: Fields, order_id: int, contract: Contract) -> OrderTicket:
    ticket = OrderTicket(
        order_id=order_id,
        contract=contract,
        action=fields.text("action"),
        quantity=fields.number("totalQuantity") or Decimal(0),
        order_type=fields.text("orderType"),
        limit_price=fields.number("lmtPrice"),
        aux_price=fields.number("auxPrice"),
        tif=fields.text("tif"),
        oca_group=fields.text("ocaGroup"),
        account=fields.text("account"),
        open_close=fields.text("openClose"),
        origin=fields.integer("origin"),
        order_ref=fields.text("orderRef"),
        transmit=fields.flag("transmit"),
        parent_id=fields.integer("parentId"),
    )
    fields.skip("blockOrder", "sweepToFill", "displaySize", "triggerMethod")
    return replace(
        ticket,
        outside_rth=fields.flag("outsideRth"),
        hidden=fields.flag("hidden"),
    )


def _skip_combo(fields: Fields) -> None:
    for _ in range(fields.integer("comboLegs")):
        fields.skip("conId", "ratio", "action", "exchange")
        fields.skip("openClose", "shortSaleSlot", "designatedLocation", "exemptCode")
    for _ in range(fields.integer("orderComboLegs")):
        fields.skip("price")
    _skip_pairs(fields, "smartComboRoutingParams")


def _order_middle(fields: Fields, ticket: OrderTicket, version: int) -> OrderTicket:
    fields.skip("sharesAllocation", "discretionaryAmt")
    ticket = replace(
        ticket,
        good_after_time=fields.text("goodAfterTime"),
        good_till_date=fields.text("goodTillDate"),
    )
    fields.skip("faGroup", "faMethod", "faPercentage")
    if version < FA_PROFILE_GONE:
        fields.skip("faProfile")
    fields.skip("modelCode", "shortSaleSlot", "designatedLocation", "exemptCode")
    ticket = replace(ticket, oca_type=fields.integer("ocaType"))
    fields.skip("rule80A", "settlingFirm")
    ticket = replace(ticket, all_or_none=fields.flag("allOrNone"))
    fields.skip("minQty", "percentOffset")
    return replace(
        ticket,
        e_trade_only=fields.flag("eTradeOnly"),
        firm_quote_only=fields.flag("firmQuoteOnly"),
    )


def _skip_special_prices(fields: Fields) -> None:
    """Pass box, volatility, delta-neutral, trailing, scale and hedge settings."""
    fields.skip("nbboPriceCap", "auctionStrategy", "startingPrice", "stockRefPrice")
    fields.skip("delta", "stockRangeLower", "stockRangeUpper")
    fields.skip("overridePercentageConstraints", "volatility", "volatilityType")
    delta_neutral = fields.text("deltaNeutralOrderType")
    fields.skip("deltaNeutralAuxPrice")
    if delta_neutral:
        fields.skip("conId", "settlingFirm", "clearingAccount", "clearingIntent")
        fields.skip("openClose", "shortSale", "shortSaleSlot", "designatedLocation")
    fields.skip("continuousUpdate", "referencePriceType")
    fields.skip("trailStopPrice", "trailingPercent")
    fields.skip("scaleInitLevelSize", "scaleSubsLevelSize")
    if (fields.number("scalePriceIncrement") or 0) > 0:
        fields.skip("priceAdjustValue", "priceAdjustInterval", "profitOffset")
        fields.skip("autoReset", "initPosition", "initFillQty", "randomPercent")
    fields.skip("scaleTable", "activeStartTime", "activeStopTime")
    if fields.text("hedgeType"):
        fields.skip("hedgeParam")


def _order_algo(fields: Fields, ticket: OrderTicket) -> OrderTicket:
    fields.skip("optOutSmartRouting", "clearingAccount", "clearingIntent", "notHeld")
    skip_delta_neutral_contract(fields)
    strategy = fields.text("algoStrategy")
    if strategy:
        _skip_pairs(fields, "algoParams")
    fields.skip("algoId")
    return replace(ticket, algo_strategy=strategy, what_if=fields.flag("whatIf"))


def _skip_tail(fields: Fields, ticket: OrderTicket, version: int) -> None:
    fields.skip("orderMiscOptions", "solicited", "randomizeSize", "randomizePrice")
    if ticket.order_type in {"PEG BENCH", "PEGBENCH"}:
        fields.skip("referenceContractId", "isPeggedChangeAmountDecrease")
        fields.skip("peggedChangeAmount", "referenceChangeAmount")
        fields.skip("referenceExchangeId")
    _skip_conditions(fields)
    fields.skip("adjustedOrderType", "triggerPrice", "lmtPriceOffset")
    fields.skip("adjustedStopPrice", "adjustedStopLimitPrice")
    fields.skip("adjustedTrailingAmount", "adjustableTrailingUnit", "extOperator")
    fields.skip("softDollarTier.name", "softDollarTier.val", "cashQty")
    fields.skip("mifid2DecisionMaker", "mifid2DecisionAlgo")
    fields.skip("mifid2ExecutionTrader", "mifid2ExecutionAlgo")
    fields.skip("dontUseAutoPriceForHedge", "isOmsContainer")
    fields.skip("discretionaryUpToLimitPrice", "usePriceMgmtAlgo")
    _skip_later_versions(fields, version)
    if version >= PEG_OFFSETS:
        _skip_peg_offsets(fields, ticket)


def _skip_conditions(fields: Fields) -> None:
    count = fields.integer("conditions")
    for _ in range(count):
        kind = fields.text("conditionType")
        if kind not in _CONDITION_FIELDS:
            raise DecodeError(f"no order condition has the type {kind!r}")
        fields.skip(*["condition"] * _CONDITION_FIELDS[kind])
    if count:
        fields.skip("conditionsIgnoreRth", "conditionsCancelOrder")


def _skip_later_versions(fields: Fields, version: int) -> None:
    gates = {
        "duration": DURATION,
        "postToAts": POST_TO_ATS,
        "autoCancelParent": AUTO_CANCEL_PARENT,
        "advancedErrorOverride": ADVANCED_REJECT,
        "manualOrderTime": MANUAL_TIME,
    }
    fields.skip(*[name for name, since in gates.items() if version >= since])


def _skip_peg_offsets(fields: Fields, ticket: OrderTicket) -> None:
    if ticket.contract.exchange == "IBKRATS":
        fields.skip("minTradeQty")
    mid = ticket.order_type in {"PEG MID", "PEGMID"}
    if ticket.order_type in {"PEG BEST", "PEGBEST"}:
        fields.skip("minCompeteSize")
        mid = fields.text("competeAgainstBestOffset").lower() in _INFINITY
    if mid:
        fields.skip("midOffsetAtWhole", "midOffsetAtHalf")


def _skip_pairs(fields: Fields, name: str) -> None:
    for _ in range(fields.integer(name)):
        fields.skip("tag", "value")
