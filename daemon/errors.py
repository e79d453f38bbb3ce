"""The errors of the daemon, each named by what its reader must do."""

from __future__ import annotations


class IbkrdError(Exception):
    """Base of every error that the daemon raises on purpose."""

    exit_status = 1
    """The status with which a command ends that meets this error."""


class ConfigError(IbkrdError):
    """The configuration is wrong: correct the named keys and start again."""

    exit_status = 4


class PlanError(IbkrdError):
    """The plan is refused as a whole: correct the listed places."""

    exit_status = 4


class OutsideCalendar(IbkrdError):
    """The sessions of that day are not known: renew the table of sessions."""


class NotRunning(IbkrdError):
    """No daemon answers on the control socket: start it with `ibkrd run`."""

    exit_status = 3


class ConnectionLost(IbkrdError):
    """The session to the gateway is gone: wait for the reconnect."""

    exit_status = 5


class GatewayTimeout(ConnectionLost):
    """The gateway did not answer in time: absence is not an answer."""


class GatewayRefused(ConnectionLost):
    """The gateway refused the session (client id in use, API switched off)."""

    def __init__(self, text: str, *, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class GatewayGarbled(ConnectionLost):
    """The gateway sent what cannot be read: nothing after it is believed."""

    def __init__(self, text: str, *, kind: str) -> None:
        super().__init__(text)
        self.kind = kind
        """What was unreadable, without its content: repetitions have the same."""


class AccountRefused(IbkrdError):
    """The gateway's account is not the one that the configuration names."""

    exit_status = 8


class AnotherInstance(IbkrdError):
    """Another daemon holds the lock: stop it first."""

    exit_status = 7


class PortInUse(IbkrdError):
    """The address to listen on is taken: choose another or stop its holder."""

    exit_status = 9


class RequestRefused(IbkrdError):
    """The gateway answered a request with an error code."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class JournalError(IbkrdError):
    """The journal cannot be read or written: look at the disk."""


class JournalDamaged(JournalError):
    """The journal's file is not what was written: it is set aside as we end."""


class EntriesBarred(JournalError):
    """The journal takes no intent of an entry now: closing and report go on."""


class DiskFull(EntriesBarred):
    """The journal lives on its reserve: make room where its file lies."""


class AlreadyClaimed(JournalError):
    """The journal's constraint says that this was done before."""


class NotifyError(IbkrdError):
    """A channel did not accept a message; it is tried again.

    Attributes:
        retry_after_s: how long the channel asks to be left alone.
        hopeless: no retry can succeed before a person corrects something.
        of_message: the channel refused this message and would take another.
    """

    def __init__(
        self,
        text: str,
        *,
        retry_after_s: float = 0.0,
        hopeless: bool = False,
        of_message: bool = False,
    ) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.hopeless = hopeless
        self.of_message = of_message


class InvariantViolated(IbkrdError):
    """A law of the design would be broken: a bug, not a condition to handle."""
