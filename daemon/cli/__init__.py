"""The command line: one module a command, imported only when it is called."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import click

from daemon.core.redact import Redactor
from daemon.errors import IbkrdError

STOPPED = 130
"""Exit status of a command that Ctrl-C ended, as shells count it."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for: start-up time."""

    COMMANDS: ClassVar[dict[str, str]] = {
        "run": "Run the daemon in the foreground.",
        "status": "Show what the running daemon knows.",
        "plan": "Check a plan and show what would be sent.",
        "schedule": "Show the jobs of coming sessions in both zones.",
        "demo": "Play a whole trading day on the embedded gateway.",
        "gateway": "Run the fake gateway alone, in real time.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of use."""
        return list(self.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and return its `command`."""
        if cmd_name not in self.COMMANDS:
            return None
        command = import_module(f"daemon.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"daemon.cli.{cmd_name}.command is no command")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the overview without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ibkrd", prog_name="ibkrd")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: the user's configuration directory).",
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """A trading-day daemon for Interactive Brokers."""
    ctx.obj = config


def run_cli(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit status (design section 11)."""
    try:
        status = cli.main(list(arguments), prog_name="ibkrd", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("ibkrd: stopped", err=True)
        return STOPPED
    except Exception as exc:  # noqa: BLE001 - the last door: one line, no traceback
        return _failed(exc)
    return status if isinstance(status, int) else 0


def _innermost(exc: Exception) -> Exception:
    """Return the error of ours that ended a task group, else what was raised."""
    found: BaseException = exc
    while isinstance(found, BaseExceptionGroup):
        ours = found.subgroup(IbkrdError)
        found = (ours or found).exceptions[0]
    return found if isinstance(found, Exception) else exc


def _failed(exc: Exception) -> int:
    """Say in one line why the command ended; return its exit status."""
    found = _innermost(exc)
    if isinstance(found, IbkrdError):
        click.echo(f"ibkrd: {found}", err=True)
        return found.exit_status
    if logging.getLogger().handlers:  # a command with a log: it masks secrets
        logging.getLogger(__name__).error("command.crashed", exc_info=exc)
    click.echo(f"ibkrd: {Redactor().text(_in_a_line(found))}", err=True)
    return 1


def _in_a_line(exc: Exception) -> str:
    """Return what happened and where; no values of variables, which may be secret."""
    text = " ".join(str(exc).split())
    if isinstance(exc, OSError) and exc.filename is not None:
        return f"{exc.filename}: {exc.strerror}: correct it, or name another place"
    frame = traceback.extract_tb(exc.__traceback__)[-1:]
    place = "".join(f" at {Path(f.filename).name}:{f.lineno}" for f in frame)
    return f"a bug, please report it: {type(exc).__name__}{place}: {text}"
