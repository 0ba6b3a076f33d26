"""A JWS in its compact form (RFC 7515 section 7.1), read before anything of it is believed: bounded, plain, and with
the one meaning that its JSON can have. What is read here says which key to try, and no more."""

import base64
import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

LONGEST = 16 * 1024
"""Characters. Access tokens with many groups are long; a header field of the HTTP server holds more."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Unverified:
    """Header and claims of a token of which nothing is known yet."""

    header: dict[str, Any]
    claims: dict[str, Any]


def read(token: str) -> Unverified:
    """Raises ValueError for what is not a JWS in compact form whose header and payload are JSON objects."""
    if len(token) > LONGEST or not _FORM.fullmatch(token):
        raise ValueError("not in the compact form")
    header, claims, _ = token.split(".")
    return Unverified(json_object(_decoded(header)), json_object(_decoded(claims)))


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 without a name given twice (RFC 8259 section 4: readers differ on those) and without NaN
    or numbers beyond a double. Raises ValueError."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  a fault of what was read, like the others
    return value


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond a double")
    return number
