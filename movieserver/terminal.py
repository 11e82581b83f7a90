"""The terminal of a command: what it shows, and how it asks for a password or a confirmation."""
from __future__ import annotations

import io
import os
import sys
from getpass import getpass

MAX_LINE_BYTES = 64 * 1024


class CommandError(Exception):
    """A command failed; the message tells the operator why."""


def show(*lines: str) -> None:
    """Print lines. What the output cannot encode is escaped; a closed pipe (`| head`) is not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes stdout again at exit


def confirm(question: str, command: str, nothing: str, yes: bool) -> None:
    """Ask for confirmation unless `yes` is set. Raises CommandError(`nothing`) for any answer but yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{nothing}: without a terminal, {command} needs --yes")
    try:
        answer = input(question)
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() != "yes":
        raise CommandError(nothing)


def ask_password(name: str) -> str:
    """A new password: typed twice and hidden at a terminal, otherwise one line of standard input."""
    if not sys.stdin.isatty():
        return _line()
    try:
        password = getpass(f"New password of {name}: ")
        again = getpass("Once more: ")
    except (EOFError, KeyboardInterrupt):
        raise CommandError("no password was typed") from None
    if password != again:
        raise CommandError("the two passwords differ")
    return require_utf8(password, "the password")


def require_utf8(text: str, what: str) -> str:
    """The same text. Raises CommandError, which names `what`, if it was read from bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(f"{what} is not UTF-8 text") from None
    return text


def _line() -> str:
    line = sys.stdin.buffer.readline(MAX_LINE_BYTES)
    if not line:
        raise CommandError("there is no password: standard input is empty")
    text = line.decode("utf-8-sig", "surrogateescape")  # editors on Windows write a byte order mark
    return require_utf8(text.removesuffix("\n").removesuffix("\r"), "the password")
