"""What the MTA tells beside its commands: macros, each with the step that it belongs to."""

from ingest.milter.packets import Command

_CONNECTION = (Command.HELO, Command.CONNECT)
_MESSAGE = (
    Command.END_OF_BODY,
    Command.END_OF_HEADER,
    Command.DATA,
    Command.RCPT,
    Command.MAIL,
)
_LONGEST = 1024  # characters of a value that are kept


class Macros:
    """The macros of one connection. Those of a step replace what the step had; what comes later counts first."""

    def __init__(self) -> None:
        self._by_step: dict[str, dict[str, str]] = {}

    def set(self, step: str, values: dict[str, str]) -> None:
        """Before the step; those of other steps (each header field has some) say nothing new."""
        if step in _CONNECTION or step in _MESSAGE:
            self._by_step[step] = {name: value[:_LONGEST] for name, value in values.items()}

    def get(self, name: str) -> str | None:
        """The newest value, if there is one that is not blank."""
        for step in (*_MESSAGE, *_CONNECTION):
            value = self._by_step.get(step, {}).get(name, "").strip()
            if value:
                return value
        return None

    def end_message(self) -> None:
        """Forget what belonged to one mail."""
        for step in _MESSAGE:
            self._by_step.pop(step, None)

    def end_connection(self) -> None:
        """Forget all."""
        self._by_step.clear()
