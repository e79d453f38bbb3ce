from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.model import Bracket, Leg
from daemon.core.refs import MAX_LENGTH, MAX_SYMBOL, Ref, parse

DAY = date(2026, 2, 19)

KNOWN = [
    ("ibkrd:20260219:BLCO:B:TP", Ref(DAY, "BLCO", Bracket.B, Leg.TAKE_PROFIT)),
    ("ibkrd:20260219:BRK B:A:EN", Ref(DAY, "BRK B", Bracket.A, Leg.ENTRY)),
    ("ibkrd:20260219:AVDL.CVR:X:MKT", Ref(DAY, "AVDL.CVR", Bracket.WHOLE, Leg.MARKET)),
    (
        "ibkrd:20260219:KMI:X:MOC.2:3",
        Ref(DAY, "KMI", Bracket.WHOLE, Leg.MARKET_ON_CLOSE, part=2, attempt=3),
    ),
    (
        "ibkrd:20260219:MRNA:A:SL:2",
        Ref(DAY, "MRNA", Bracket.A, Leg.STOP_LOSS, attempt=2),
    ),
    ("ibkrd:20260219:LH:B:TX", Ref(DAY, "LH", Bracket.B, Leg.TIMED_EXIT)),
]

symbols = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=":"),
    min_size=1,
    max_size=MAX_SYMBOL,
).filter(lambda text: text == text.strip())

refs = st.builds(
    Ref,
    session=st.dates(min_value=date(2000, 1, 1), max_value=date(2099, 12, 31)),
    symbol=symbols,
    bracket=st.sampled_from(Bracket),
    leg=st.sampled_from(Leg),
    part=st.none() | st.integers(1, 99),
    attempt=st.integers(1, 999),
)


@pytest.mark.parametrize(("text", "ref"), KNOWN)
def test_a_reference_reads_as_designed(text, ref):
    assert ref.text == text
    assert parse(text) == ref


@given(refs)
def test_every_reference_is_ascii_of_forty_characters_and_reads_back_exactly(ref):
    assert len(ref.text) <= MAX_LENGTH == 40
    assert ref.text.isascii()
    assert parse(ref.text) == ref


@given(refs, refs)
def test_two_references_never_share_a_text(one, other):
    assert (one.text == other.text) == (one == other)


@given(st.text())
def test_a_text_is_read_only_if_it_would_be_written_like_this(text):
    ref = parse(text)
    assert ref is None or ref.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "my stop",
        "ibkrd:20260219:BLCO:B",
        "ibkrd:20260219:BLCO:C:TP",
        "ibkrd:20260219:BLCO:B:XX",
        "ibkrd:20260230:BLCO:B:TP",
        "ibkrd:2026021:BLCO:B:TP",
        "ibkrd:20260219::B:TP",
        "ibkrd:20260219: LH:B:TP",
        "ibkrd:20260219:LH:B:TP:1",
        "ibkrd:20260219:LH:B:TP:02",
        "ibkrd:20260219:LH:B:TP.0",
        "ibkrd:20260219:LH:B:TP.",
        "ibkrd:20260219:LH:B:TP ",
        "IBKRD:20260219:LH:B:TP",
        "ibkrd:20260219:LÖH:B:TP",
        "ibkrd:٢٠٢٦٠٢١٩:LH:B:TP",
        "ibkrd:20260219:LH:B:TP\n",
        "ibkrd:20260219:ABCDEFGHIJKLMNOPQRSTUVWXYZ:B:TP",
    ],
)
def test_a_foreign_text_is_no_reference(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("symbol", "part", "attempt"),
    [
        ("A:B", None, 1),
        ("", None, 1),
        ("LH ", None, 1),
        ("LÖH", None, 1),
        ("A" * 30, None, 1),
        ("LH", 0, 1),
        ("LH", -1, 1),
        ("LH", None, 0),
    ],
)
def test_a_reference_that_would_not_read_back_cannot_exist(symbol, part, attempt):
    with pytest.raises(ValueError, match="order reference"):
        Ref(DAY, symbol, Bracket.A, Leg.ENTRY, part=part, attempt=attempt)
