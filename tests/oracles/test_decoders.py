from __future__ import annotations

import pytest
from official import VERSIONS, decode
from samples import SAMPLES


def parts(message: bytes) -> list[bytes]:
    return message[4:-1].split(b"\0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_official_decoder_consumes_every_field(name: str, version: int) -> None:
    events = decode(parts(SAMPLES[name](version)), version)
    assert events


@pytest.mark.parametrize("version", VERSIONS)
def test_the_official_decoder_reads_the_order_that_was_meant(version: int) -> None:
    ((_, (order_id, contract, order, state)),) = decode(
        parts(SAMPLES["openOrder"](version)), version
    )
    assert (order_id, contract.conId, contract.symbol) == (5, 10291, "NOV")
    assert (order.lmtPrice, order.parentId, order.permId) == (19.2, 4, 77)
    assert (order.totalQuantity, order.clientId) == (196, 7)
    assert (state.status, order.orderRef) == ("Submitted", "ref/1")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_official_decoder_reads_the_completed_order(version: int) -> None:
    ((_, (contract, order, state)),) = decode(
        parts(SAMPLES["completedOrder"](version)), version
    )
    assert (contract.symbol, order.permId, order.filledQuantity) == ("NOV", 77, 196)
    assert state.completedStatus == "Filled Size: 196"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_official_decoder_reads_the_execution(version: int) -> None:
    ((_, (request_id, contract, execution)),) = decode(
        parts(SAMPLES["execDetails"](version)), version
    )
    assert (request_id, contract.symbol, execution.side) == (-1, "NOV", "BOT")
    assert (execution.price, execution.orderRef) == (19.2, "ref/1")
    assert (execution.clientId, execution.lastLiquidity) == (7, 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_official_decoder_reads_text_outside_ascii(version: int) -> None:
    ((_, args),) = decode(parts(SAMPLES["error"](version)), version)
    assert "Order rejected é" in args
