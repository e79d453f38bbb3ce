"""`ibkrd run` against `ibkrd gateway`: two processes, TCP, real time."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest

pytestmark = pytest.mark.slow

REFS = {
    f"ibkrd:20260219:{symbol}:{bracket}:{leg}"
    for symbol in ("KMI", "NOV")
    for bracket in ("A", "B")
    for leg in ("EN", "TP", "SL")
}
"""The orders of the plan, each of which may reach the gateway once."""
WORKING = {ref for ref in REFS if not ref.startswith("ibkrd:20260219:KMI:")}
"""NOV's entries are too low to be filled: they and their exits stay."""
ONCE = Counter(dict.fromkeys(REFS, 1))

START_API, PLACE, POSITIONS, OPEN_ORDERS = "71", "3", "61", "5"
ALL_OPEN_ORDERS, EXECUTIONS, COMPLETED = "16", "7", "99"
"""Message ids of the wire protocol, from the client to the gateway."""


def test_a_day_is_submitted_at_its_moment_and_left_in_good_order(house):
    gateway = house.gateway("2026-02-19T09:34:57")
    house.config(gateway.port)
    house.plan()
    daemon = house.daemon("2026-02-19T09:34:57-05:00")
    assert daemon.event("daemon.started")["client_id"] == 10
    ready = daemon.event("session.ready")
    assert (ready["client_id"], ready["gateway"]) == (10, f"127.0.0.1:{gateway.port}")
    started = daemon.event("job.started", job="submit")
    assert started["due"] == "2026-02-19T14:35:00+00:00"
    assert 0 <= started["late_s"] < 5
    ended = daemon.event("job.ended", job="submit")
    assert ended["summary"].startswith("2 rows: 2 submitted, 0 skipped, 0 refused")
    status_is_shown_to_another_terminal(house, daemon, ended["summary"])
    report_is_written_at_once(house, daemon)
    assert gateway.placed() == ONCE  # nobody traded meanwhile

    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    left = daemon.event("orders.left_working")
    assert WORKING <= set(left["order_refs"]) <= REFS
    assert daemon.event("daemon.stopped")["cause"] == "SIGTERM"
    assert daemon.wait() == 0
    assert time.monotonic() - began < 5
    assert gateway.records("cancel_requested") == []

    same_day_again_places_nothing(house, gateway)


def status_is_shown_to_another_terminal(house, daemon, summary):
    as_json, shown = house.command("status", "--json"), house.command("status")
    assert as_json.wait() == 0
    status = json.loads("\n".join(as_json.lines))
    assert (status["pid"], status["link"]) == (daemon.pid, "ready")
    assert (status["client_id"], status["account"]) == (10, "DU1234567")
    assert status["session"]["date"] == "2026-02-19"
    assert status["results"]["submit"] == summary
    assert sum(status["orders"].values()) == 12
    assert shown.wait() == 0
    first, *others = shown.lines
    assert first.startswith(f"daemon   pid {daemon.pid}, since 2026-02-19 15:34:5")
    assert "link     ready, client id 10" in others
    assert "next     moc_close at 2026-02-19 21:40:00 CET" in others


def report_is_written_at_once(house, daemon):
    daemon.signal(signal.SIGUSR1)
    written = daemon.event("report.written")
    (path,) = house.reports.glob("*so_far*.json")
    assert str(path) in written["summary"]
    report = json.loads(path.read_text())
    assert report["rows"]["submitted"] == 2
    assert report["totals"]["bought_shares"] > 0


def same_day_again_places_nothing(house, gateway):
    house.config(gateway.port, log_level="DEBUG")
    again = house.daemon("2026-02-19T09:36:10-05:00")
    again.event("session.ready")
    second = house.daemon("2026-02-19T09:36:10-05:00")
    again.event("job.done_before", job="submit")
    assert second.wait() == 7
    assert f"another ibkrd (pid {again.pid}, started 20" in second.lines[-1]
    assert "stop it first" in second.lines[-1]
    assert again.stop() == 0
    assert gateway.placed() == ONCE
    assert len(gateway.records("connected")) == 2


class Relay:
    """Passes bytes between the daemon and a gateway, and notes what is asked."""

    def __init__(self, port):
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.asked = []
        """The message ids that the client sent, in order."""

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        # Closing alone would leave a thread in accept().
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _start(self, target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._start(self._pump, near, far, self._note(bytearray()))
                self._start(self._pump, far, near, len)

    def _pump(self, source, sink, look):
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                look(data)
                sink.sendall(data)

    def _note(self, pending):
        """Return what cuts the client's stream into messages: length, then fields."""

        def look(data):
            pending.extend(data)
            if pending.startswith(b"API\0"):
                del pending[: 8 + int.from_bytes(pending[4:8])]
            while len(pending) >= 4:
                end = 4 + int.from_bytes(pending[:4])
                if len(pending) < end:
                    break
                self.asked.append(bytes(pending[4:end]).split(b"\0")[0].decode())
                del pending[:end]

        return look


def test_positions_are_read_before_anything_else(house):
    """B: a session that trades on what it remembers trades twice."""
    gateway = house.gateway("2026-02-19T09:36:00")
    house.plan()
    with Relay(gateway.port) as relay:
        house.config(relay.port)
        daemon = house.daemon("2026-02-19T09:36:00-05:00")
        daemon.event("session.ready")
        daemon.event("job.ended", job="submit")
        assert daemon.stop() == 0
    assert relay.asked[:2] == [START_API, POSITIONS]
    first_order = relay.asked.index(PLACE)
    sync = [OPEN_ORDERS, ALL_OPEN_ORDERS, COMPLETED, EXECUTIONS]
    assert [i for i in relay.asked[:first_order] if i in sync][:4] == sync
    assert relay.asked.count(PLACE) == 12


def test_a_daemon_that_is_killed_while_it_submits_sends_nothing_twice(house):
    gateway = house.gateway("2026-02-19T09:36:00")
    house.plan()
    house.config(gateway.port)
    killed = house.daemon("2026-02-19T09:36:00-05:00")
    killed.event("order.sent")
    killed.signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    again = house.daemon("2026-02-19T09:36:10-05:00")
    again.event("session.ready")
    assert again.stop() == 0  # not before the job has ended
    house.config(gateway.port, log_level="DEBUG")
    last = house.daemon("2026-02-19T09:36:20-05:00")
    last.event("session.ready")
    last.event("job.done_before", job="submit")
    last.signal(signal.SIGKILL)
    last.wait()
    assert set(gateway.placed().values()) == {1}
    assert set(gateway.placed()) <= REFS
    assert {fill["symbol"] for fill in gateway.records("executed")} == {"KMI"}


def test_a_run_without_an_account_prints_the_ids_offered_and_ends(house):
    gateway = house.gateway(
        "2026-02-19T09:36:00", "--account", "DU1234567", "--account", "DU7654321"
    )
    house.plan()
    offer = f"the gateway at 127.0.0.1:{gateway.port} offers DU1234567, DU7654321"
    for account, status, text in (
        ("", 4, f"ibkrd: account.id is not set: {offer}; name one of them"),
        ("DU5555555", 8, f"ibkrd: account DU5555555 is not allowed here: {offer}; "),
    ):
        house.config(gateway.port, account)
        daemon = house.daemon("2026-02-19T09:36:00-05:00")
        assert daemon.wait() == status
        assert daemon.lines[-1].startswith(text)
    assert gateway.records("connected") != []
    assert gateway.records("placed") == []


def test_an_absent_gateway_is_named_and_waited_for(house, free_port):
    house.config(free_port)
    daemon = house.daemon("2026-02-19T08:00:00-05:00")
    failed = daemon.event("session.failed")
    assert failed["level"] == "warning"
    assert failed["cause"] == (
        f"nothing listens on 127.0.0.1:{free_port}: start the gateway, enable its "
        "API, and look at its port"
    )
    status = house.command("status")
    assert status.wait() == 0
    assert f"trouble  {failed['cause']}" in status.lines
    house.gateway("2026-02-19T08:00:05", port=free_port)
    daemon.event("session.ready")
    assert [r for r in daemon.logged("session.failed") if r["level"] != "debug"] == [
        failed
    ]
    assert daemon.stop() == 0


def take_client_id(port, client_id):
    """Open a session as any client would; return its socket when the id is its own."""
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(b"API\0" + _frame(b"v157..178"))
    line.recv(4096)
    fields = [START_API.encode(), b"2", str(client_id).encode(), b"", b""]
    line.sendall(_frame(b"\0".join(fields)))
    while b"DU1234567" not in line.recv(4096):
        pass
    return line


def _frame(payload):
    return len(payload).to_bytes(4, "big") + payload


def test_a_client_id_in_use_is_named_and_waited_for(house):
    gateway = house.gateway("2026-02-19T08:00:00")
    house.config(gateway.port)
    with take_client_id(gateway.port, 10):
        daemon = house.daemon("2026-02-19T08:00:00-05:00")
        failed = daemon.event("session.failed")
        assert (failed["code"], failed["level"]) == (326, "warning")
        assert f"client id 10 is in use at 127.0.0.1:{gateway.port}" in failed["cause"]
    daemon.event("session.ready", client_id=10)
    assert daemon.stop() == 0


def test_a_second_ctrl_c_ends_a_daemon_that_waits(house):
    gateway = house.gateway("2026-02-19T09:36:00")
    house.config(gateway.port)
    daemon = house.daemon("2026-02-19T09:36:00-05:00")
    daemon.event("plan.awaited")  # the job goes on until 10:00, and a stop waits
    daemon.signal(signal.SIGINT)
    daemon.event("daemon.stopping", cause="SIGINT")
    assert daemon.alive
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 1
    assert daemon.events()[-1]["event"] == "daemon.aborted"


def test_a_report_asked_for_at_any_moment_kills_no_daemon(house):
    """From the first instruction to the last: the default of SIGUSR1 is death."""
    gateway = house.gateway("2026-02-19T09:20:00")
    config = house.config(gateway.port)
    house.plan()
    # The service files start it so: the interpreter's own first milliseconds.
    script = "trap '' USR1; echo trapped; exec \"$@\""
    run = house.run_at("2026-02-19T09:20:00-05:00", "--config", str(config), "run")
    daemon = house.start("/bin/sh", "-c", script, "sh", *run)
    daemon.until("trapped")
    daemon.pestered(signal.SIGUSR1, until="session.ready")
    daemon.pestered(signal.SIGUSR1, until="report.written")
    daemon.signal(signal.SIGTERM)
    daemon.pestered(signal.SIGUSR1, until=None)
    assert daemon.wait() == 0
    assert daemon.logged("daemon.stopped")
    # A question in the middle of the connection's opening would break it.
    assert daemon.logged("session.failed") == []
    assert len(daemon.logged("session.ready")) == 1
    assert gateway.records("placed") == []
