"""The command line: a table of commands, and what their errors mean to a shell.

Exit codes: 0 done, 1 the answer is no (tampered, not found, refused), 2 wrong use.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from archive_service.commands import (
    access_log,
    accounts,
    alarms,
    approving,
    archive,
    compartments,
    custodians,
    dispositions,
    doctor,
    eliminations,
    erasing,
    exporting,
    grants,
    holds,
    importing,
    incidents,
    journal,
    keys,
    mail,
    matters,
    moving,
    orders,
    rebuilding,
    reconciling,
    recovering,
    retention,
    serve,
    tokens,
    verifying,
    yearly_pack,
)
from archive_service.commands.output import Output
from archive_service.model.errors import ArchiveError, Invalid, QueryError, StoreDenied
from archive_service.settings import load

_MODULES = (
    archive,
    tokens,
    serve,
    importing,
    mail,
    exporting,
    verifying,
    doctor,
    rebuilding,
    recovering,
    erasing,
    retention,
    dispositions,
    eliminations,
    approving,
    grants,
    matters,
    compartments,
    holds,
    orders,
    accounts,
    incidents,
    journal,
    yearly_pack,
    keys,
    moving,
    alarms,
    reconciling,
    custodians,
    access_log,
)


class _WrongUse(Exception):
    """Arguments that are not understood, and the usage to be shown."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """Raises what it finds wrong: it is told like every other error, as JSON where that was asked for."""

    def error(self, message: str) -> NoReturn:
        raise _WrongUse(message, self.format_usage())

    def whole(self, words: Sequence[str]) -> argparse.Namespace:
        """As ``parse_args``, which repeats what it does not know: a token where none is taken would be printed."""
        given, unknown = self.parse_known_args(words)
        if unknown:
            names = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            self.error(f"not known to this command: {', '.join(names) or 'a word too many'}")
        return given


def parser() -> _Parser:
    """Every command with its arguments."""
    top = _Parser(prog="archive-service", description="A compliance mail archive that can prove itself.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _MODULES:
        module.register(commands)
    _common(commands)
    return top


def _common(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """Options that every command takes after its name."""
    for command in _leaves(commands):
        command.add_argument("--data", type=Path, metavar="DIR", help="an embedded archive in this folder")
        command.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML")
        command.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _leaves(commands: "argparse._SubParsersAction[_Parser]") -> "list[_Parser]":
    found: list[_Parser] = []
    for command in commands.choices.values():
        nested = [act for act in command._actions if isinstance(act, argparse._SubParsersAction)]
        found.extend(leaf for sub in nested for leaf in _leaves(sub))
        if not nested:
            found.append(command)
    return found


def _require_text(given: argparse.Namespace) -> None:
    """Bytes that are not UTF-8 reach us as lone surrogates, which nothing here can store or send."""
    for name, value in vars(given).items():
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Invalid(f"{name} is not UTF-8 text", code="input.encoding")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        given = parser().whole(words)
    except _WrongUse as wrong:
        sys.stderr.write(wrong.usage)
        Output(as_json="--json" in words).error(Invalid(str(wrong), code="input.usage"))
        return 2
    output = Output(as_json=given.json)
    try:
        _require_text(given)
        settings = load(
            given.config, data=given.data, **given.settings(given) if hasattr(given, "settings") else {}
        )
        return int(given.run(given, settings, output))
    except (Invalid, QueryError) as error:
        output.error(error)
        return 2
    except ArchiveError as error:
        output.error(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        output.error(StoreDenied(f"{error.strerror}: {error.filename}", code="file.failed"))
        return 1


if __name__ == "__main__":
    sys.exit(main())
