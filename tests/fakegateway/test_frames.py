from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.fakegateway.frames import (
    GREETING,
    MAX_FRAME,
    FrameError,
    FrameSplitter,
    fields_of,
    frame,
)

HELLO = b"API\0" + b"\0\0\0\x09v157..178"
START = b"\0\0\0\x0871\x002\x007\0\0"
TIME = b"\0\0\0\x0549\x001\0"
STREAM = HELLO + START + TIME
PAYLOADS = [b"v157..178", b"71\x002\x007\0\0", b"49\x001\0"]


def fed(*chunks: bytes) -> list[bytes]:
    splitter = FrameSplitter()
    return [payload for chunk in chunks for payload in splitter.feed(chunk)]


def test_a_frame_is_a_length_and_terminated_fields() -> None:
    assert frame("71", "2", "7", "") == START


def test_text_outside_ascii_counts_in_bytes() -> None:
    assert frame("é") == b"\0\0\0\x03\xc3\xa9\0"


def test_fields_are_terminated_not_separated() -> None:
    assert fields_of(b"71\x002\x007\0\0") == ["71", "2", "7", ""]


def test_a_field_without_its_terminator_is_an_error() -> None:
    with pytest.raises(FrameError, match="no terminator"):
        fields_of(b"71\x002")


def test_glued_frames_come_apart() -> None:
    assert fed(STREAM) == PAYLOADS


def test_bytes_one_by_one_give_the_same_frames() -> None:
    assert fed(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == PAYLOADS


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_any_cut_in_two_gives_the_same_frames(cut: int) -> None:
    assert fed(STREAM[:cut], STREAM[cut:]) == PAYLOADS


def test_a_stream_that_does_not_greet_is_an_error() -> None:
    with pytest.raises(FrameError, match="greeting"):
        fed(b"GET / HTTP/1.1")


def test_a_wrong_greeting_is_an_error_at_its_first_wrong_byte() -> None:
    with pytest.raises(FrameError, match="greeting"):
        fed(b"A", b"X")


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 0xFFFFFFFF])
def test_an_empty_or_oversize_frame_is_an_error(length: int) -> None:
    with pytest.raises(FrameError, match=str(length)):
        fed(GREETING + length.to_bytes(4, "big"))


def test_good_frames_before_a_bad_one_are_still_given() -> None:
    payloads = FrameSplitter().feed(STREAM + b"\xff\xff\xff\xff")
    taken = [next(payloads) for _ in PAYLOADS]
    with pytest.raises(FrameError):
        next(payloads)
    assert taken == PAYLOADS


# --- whatever arrives -----------------------------------------------------------------


def outcome(*chunks: bytes) -> tuple[list[bytes], str]:
    """Return the payloads before the error, and the error."""
    splitter, payloads = FrameSplitter(), []
    try:
        for chunk in chunks:
            for payload in splitter.feed(chunk):
                payloads.append(payload)  # noqa: PERF402 # those before an error count
    except FrameError as exc:
        return payloads, str(exc)
    return payloads, ""


@given(st.binary(max_size=200), st.integers(0, 220))
def test_no_bytes_make_another_difference_where_they_are_cut(
    garbage: bytes, cut: int
) -> None:
    for start in (b"", GREETING, STREAM):
        stream = start + garbage
        payloads, error = outcome(stream)
        again, error_again = outcome(stream[:cut], stream[cut:])
        assert again == payloads
        assert bool(error_again) == bool(error)


@given(st.integers(0, len(STREAM) - 1), st.binary(min_size=1, max_size=8))
def test_a_real_stream_with_garbage_inside_raises_nothing_else(
    place: int, garbage: bytes
) -> None:
    payloads, _ = outcome(STREAM[:place] + garbage + STREAM[place:])
    assert all(payloads)
    for payload in payloads:
        with suppress(FrameError):
            assert all(isinstance(field, str) for field in fields_of(payload))


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")),
        min_size=1,
    )
)
def test_any_fields_survive_the_way_through_a_frame(fields: list[str]) -> None:
    (payload,) = fed(GREETING + frame(*fields))
    assert fields_of(payload) == fields
