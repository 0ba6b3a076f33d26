"""The form of a request that comes as it is: what each of its fields may be, before anybody looks at what it says."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from archive_service.model.errors import Invalid


class Form(StrEnum):
    """Of one field; each may be left out, or null."""

    TEXT = "text"
    TEXTS = "a list of texts"
    FLAG = "true or false"


def require_form(forms: Mapping[str, Form], given: Mapping[str, Any]) -> None:
    """Raises Invalid (``approval.request``), naming the field."""
    for name, form in forms.items():
        value = given.get(name)
        if value is not None and not _is(form, value):
            raise Invalid(f"{name} is {form}", code="approval.request")


def _is(form: Form, value: object) -> bool:
    match form:
        case Form.TEXT:
            return isinstance(value, str)
        case Form.TEXTS:
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
        case Form.FLAG:
            return isinstance(value, bool)


def texts(*names: str) -> dict[str, Form]:
    """Fields that are text."""
    return dict.fromkeys(names, Form.TEXT)


def lists(*names: str) -> dict[str, Form]:
    """Fields that are lists of texts."""
    return dict.fromkeys(names, Form.TEXTS)


def flags(*names: str) -> dict[str, Form]:
    """Fields that are true or false."""
    return dict.fromkeys(names, Form.FLAG)
