"""A line from logical into visual order, brackets mirrored (Unicode Standard Annex #9, rules L2 and L4)."""

import re
from collections.abc import Callable

from bidi import get_display
from bidi.mirror import MIRRORED

# A nonspacing mark takes the level of what it follows (rules W1 and N0), and reversal puts it before that.
# This one never stands in cleaned text.
_MARK = "\ufe00"
_MIRRORS: dict[str, str] = MIRRORED
_CLASS = "[" + "".join(map(re.escape, _MIRRORS)) + "]"
_BRACKET = re.compile(_CLASS)
_TURNED = re.compile(f"{_MARK}({_CLASS})|({_CLASS}){_MARK}")


def mirror_of(char: str) -> str | None:
    """The character that looks like the mirrored one: ``)`` for ``(``; None if there is none."""
    return _MIRRORS.get(char)


def visual(line: str, from_right: bool, drawable: Callable[[str], bool]) -> str:
    """The cleaned line in visual order. A Hebrew or Arabic mark comes before its letter, where Noto draws it.

    ``from_right``: its paragraph reads from the right. A bracket between right to left letters turns round
    (rule L4), if its mirror image is ``drawable``. The compiled ``get_display`` resolves levels, paired
    brackets included (rule N0), but neither mirrors nor tells the levels: a mark behind each bracket does.
    """
    marked = _BRACKET.sub(lambda found: found.group() + _MARK, line)
    shown = str(get_display(marked, base_dir="R" if from_right else "L"))

    def turn(found: re.Match[str]) -> str:
        reversed_one, kept = found.groups()
        if kept is not None:
            return str(kept)
        mirror = _MIRRORS[reversed_one]
        return mirror if drawable(mirror) else str(reversed_one)

    return _TURNED.sub(turn, shown)
