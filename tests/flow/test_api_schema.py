"""Whatever a caller makes up from the description: no fault of ours, and no answer that the description does not have.

Schemathesis makes the requests, as a library (its plugin for pytest is switched off). With ``ARCHIVE_TEST_FULL=1`` many
more of them.
"""

import os

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from archive_service.api.examples import BODIES
from tests.flow.api_fakes import TABLE, archive_with_export, is_problem, with_cases

MANY = 100 if os.environ.get("ARCHIVE_TEST_FULL") == "1" else 5
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NOT_THERE = {"/v1/integrity/logs/{log}/tile/{path}"}
"""Nothing to be shown stands behind these in the archive in memory."""
CALLS = {(method, path.replace(":path", "")): call for (method, path), call in TABLE.items()}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archive_with_export(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def ids(archive):
    return with_cases(archive)


@pytest.fixture(scope="module")
def operations(archive) -> dict:
    schema = schemathesis.openapi.from_dict(archive.call("GET", "/openapi.json").json())
    return {
        (each.method.upper(), each.path): each for each in (some.ok() for some in schema.get_all_operations())
    }


def made_up(operation, path: str) -> st.SearchStrategy:
    """Requests of the described form, of another, and of either about something that is there."""
    modes = list(schemathesis.GenerationMode)
    strategies = [operation.as_strategy(generation_mode=mode) for mode in modes]
    there = {
        name.strip("{}"): value
        for name, value in zip(operation.path.split("/"), path.partition("?")[0].split("/"), strict=False)
        if name.startswith("{")
    }
    if there and operation.path not in NOT_THERE:
        strategies.append(operation.as_strategy(path_parameters=there))
    return st.one_of(strategies)


def sent(archive, case, role: str | None):
    """The case through the whole app."""
    request = case.as_transport_kwargs(base_url="http://archive")
    headers = {
        name: value for name, value in request.pop("headers").items() if name.lower() != "authorization"
    }
    url = request.pop("url").removeprefix("http://archive")
    options = {name: request[name] for name in ("params", "json", "data") if request.get(name) is not None}
    if isinstance(options.get("data"), str | bytes):
        options["content"] = options.pop("data")
    try:
        return archive.call(request["method"], url, role, headers=headers, **options)
    except httpx.InvalidURL:
        reject()  # too long for the client


def is_too_early(answer) -> bool:
    """Who asks for more than the acts hold (``min_seq``) is to try again: no fault, and described."""
    return answer.status_code == 503 and answer.json()["code"] == "projection.behind"


@pytest.mark.parametrize("key", sorted(CALLS), ids=" ".join)
def test_no_request_brings_a_fault_or_an_answer_that_is_not_described(archive, ids, operations, key):
    roles, path, _ = CALLS[key]
    role = sorted(set(map(str, roles)) - {"nobody"})[0]
    operation = operations[key]

    @settings(
        max_examples=MANY,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(made_up(operation, path.format(**ids)), st.sampled_from([role, role, role, None]))
    def check(case, who):
        answer = sent(archive, case, who)
        checks = CHECKS[1:] if is_too_early(answer) else CHECKS
        case.validate_response(answer, checks=checks)

    check()


@pytest.mark.parametrize("name", sorted(BODIES))
def test_the_example_of_a_body_is_taken(archive, ids, name):
    method, path = name.split(" ")
    roles, called, _ = CALLS[method, path]
    body = BODIES[name]
    options = {"content": body} if isinstance(body, str) else {"json": body}
    response = archive.call(method, called.format(**ids), sorted(map(str, roles))[0], **options)
    assert response.status_code not in (400, 422), response.text


def test_every_status_has_an_example_that_is_a_problem_document(archive):
    described = archive.call("GET", "/openapi.json").json()
    for name, answer in described["components"]["responses"].items():
        (content,) = answer["content"].values()
        assert str(content["example"]["status"]) in (name[-3:], "404")
    refused = archive.call("GET", "/v1/messages/m1")
    problem = described["components"]["responses"]["Problem401"]["content"]["application/problem+json"]
    assert set(is_problem(refused, 401, "auth.required")) == set(problem["example"])
