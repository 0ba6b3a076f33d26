"""A SCIM PATCH (RFC 7644 section 3.5.2) applied to a resource as JSON, with the habits of Entra ID and Okta: operations
in any case, booleans as text, dotted names and URNs as keys of a value without path, members named in the value of a
removal. Raises Invalid: ``scim.invalidSyntax``, ``scim.invalidPath``, ``scim.invalidValue``, ``scim.noTarget``.
"""

import copy
from typing import Any

from archive_service.directory.scim_paths import Compared, Path, read_path
from archive_service.model.errors import Invalid

MOST_OPERATIONS = 1000


def patched(resource: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The resource after all operations."""
    operations = named(body, "operations")
    if not isinstance(operations, list) or not operations or len(operations) > MOST_OPERATIONS:
        raise Invalid(f"Operations holds 1 to {MOST_OPERATIONS} operations", code="scim.invalidSyntax")
    made = copy.deepcopy(resource)
    for operation in operations:
        if not isinstance(operation, dict):
            raise Invalid("an operation is an object", code="scim.invalidSyntax")
        _apply(made, operation)
    return made


def named(value: dict[str, Any], name: str) -> Any:
    """A member by its name in any case (RFC 7643 section 2.1)."""
    return next((found for key, found in value.items() if key.lower() == name.lower()), None)


def _apply(resource: dict[str, Any], operation: dict[str, Any]) -> None:
    verb, path, value = (named(operation, name) for name in ("op", "path", "value"))
    if not isinstance(verb, str) or verb.lower() not in ("add", "replace", "remove"):
        raise Invalid("an operation adds, replaces or removes", code="scim.invalidSyntax")
    if path is None or path == "":
        if verb.lower() == "remove" or not isinstance(value, dict):
            raise Invalid("an operation without path holds an object", code="scim.noTarget")
        for name, each in value.items():
            if name.lower().startswith("urn:") and isinstance(each, dict):
                for inner, deeper in each.items():
                    _at(resource, verb.lower(), read_path(f"{name}:{inner}"), deeper)
            elif name.lower() != "schemas":
                _at(resource, verb.lower(), read_path(name), each)
        return
    if not isinstance(path, str):
        raise Invalid("a path is text", code="scim.invalidPath")
    _at(resource, verb.lower(), read_path(path), value)


def _at(resource: dict[str, Any], verb: str, path: Path, value: Any) -> None:
    holder = resource
    if path.schema and "core:2.0" not in path.schema:
        holder = _member(resource, path.schema, {})
        if not isinstance(holder, dict):
            raise Invalid("an extension is an object", code="scim.invalidPath")
    key = _key(holder, path.attribute)
    if path.chosen:
        _in_list(holder, key, verb, path, value)
    elif path.part:
        inner = _member(holder, path.attribute, {})
        if not isinstance(inner, dict):
            raise Invalid("this attribute has no parts", code="scim.invalidPath")
        _set(inner, _key(inner, path.part), verb, value)
    else:
        _set(holder, key, verb, value)


def _set(holder: dict[str, Any], key: str, verb: str, value: Any) -> None:
    there = holder.get(key)
    if verb == "remove":
        if isinstance(there, list) and isinstance(value, list):
            gone = {_value_of(each) for each in value}
            holder[key] = [each for each in there if _value_of(each) not in gone]
        else:
            holder.pop(key, None)
    elif verb == "add" and isinstance(there, list):
        more = value if isinstance(value, list) else [value]
        known = {_value_of(each) for each in there}
        holder[key] = there + [each for each in more if _value_of(each) not in known]
    elif isinstance(there, dict) and isinstance(value, dict):
        there.update({_key(there, name): each for name, each in value.items()})
    else:
        holder[key] = value


def _in_list(holder: dict[str, Any], key: str, verb: str, path: Path, value: Any) -> None:
    there = holder.get(key) or []
    if not isinstance(there, list) or not all(isinstance(each, dict) for each in there):
        raise Invalid("this attribute has no elements to choose from", code="scim.invalidPath")
    chosen = [each for each in there if all(compared.fits(each) for compared in path.chosen)]
    if verb == "remove":
        if path.part:
            for each in chosen:
                each.pop(_key(each, path.part), None)
            holder[key] = [each for each in there if named(each, "value") is not None]
        else:
            holder[key] = [each for each in there if each not in chosen]
        return
    if not chosen:  # Entra ID sets the value of an element that is not there yet, and means that it be made
        chosen = [_made(path.chosen)]
        holder[key] = [*there, *chosen]
    for each in chosen:
        if path.part:
            each[_key(each, path.part)] = value
        elif isinstance(value, dict):
            each.update({_key(each, name): inner for name, inner in value.items()})
        else:
            raise Invalid("an element is an object", code="scim.invalidValue")


def _made(chosen: tuple[Compared, ...]) -> dict[str, Any]:
    return {compared.attribute: compared.value for compared in chosen}


def _key(holder: dict[str, Any], name: str) -> str:
    """The member's name as it is spelled there, else as given."""
    return next((key for key in holder if key.lower() == name.lower()), name)


def _member(holder: dict[str, Any], name: str, empty: Any) -> Any:
    return holder.setdefault(_key(holder, name), empty)


def _value_of(element: Any) -> str:
    found = named(element, "value") if isinstance(element, dict) else element
    return str(found)
