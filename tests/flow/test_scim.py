"""SCIM 2.0 on the real app: the conversations that Entra ID and Okta hold, and what they mean for the directory."""

from typing import Any

import pytest

from tests.flow.api_fakes import Archive, archive_with_export

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
TODAY = "2026-03-01"
ENTRA = {
    "schemas": [USER, ENTERPRISE],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Zoe.Roux@ex.fr",
    "active": True,
    "displayName": "Zoé Roux",
    "emails": [{"primary": True, "type": "work", "value": "zoe.roux@ex.fr"}],
    "meta": {"resourceType": "User"},
    "name": {"formatted": "Zoé Roux", "familyName": "Roux", "givenName": "Zoé"},
    "roles": [],
    ENTERPRISE: {"department": "Achats", "employeeNumber": "77"},
}


class Scim:
    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def __call__(
        self, method: str, path: str, body: Any = None, code: int = 200, **options: Any
    ) -> dict[str, Any]:
        role = options.pop("role", "admin")
        headers = {"Content-Type": "application/scim+json"} | options.pop("headers", {})
        sent = {} if body is None else {"json": body}
        response = self.archive.call(
            method, f"/scim/v2/{path}", role, headers=headers if body is not None else options, **sent
        )
        assert response.status_code == code, response.text
        if code == 204:
            assert response.content == b""
            return {}
        assert response.headers["content-type"] == "application/scim+json"
        answer: dict[str, Any] = response.json()
        if code >= 400:
            assert answer["schemas"] == [ERROR] and answer["status"] == str(code)
        return answer

    def patch(self, user: str, *operations: dict[str, Any], code: int = 200, kind: str = "Users") -> Any:
        return self("PATCH", f"{kind}/{user}", {"schemas": [PATCH], "Operations": list(operations)}, code)

    def spans(self, user: str) -> set[tuple[str, str | None, str | None]]:
        found = self.archive.one.people.at_head().get(user)
        assert found is not None
        return {(held.address, held.begins, held.until) for held in found.addresses}


@pytest.fixture
def scim(tmp_path) -> Scim:
    return Scim(archive_with_export(tmp_path))


def test_entra_looks_whether_a_user_is_there_makes_him_and_finds_him(scim):
    empty = scim("GET", "Users?filter=userName%20eq%20%22zoe.roux@ex.fr%22")
    assert (empty["totalResults"], empty["Resources"]) == (0, [])
    made = scim("POST", "Users", ENTRA, 201)
    assert made["id"].startswith("c") and made["meta"]["location"].endswith(f"/scim/v2/Users/{made['id']}")
    assert (made["active"], made["emails"]) == (
        True,
        [{"value": "zoe.roux@ex.fr", "type": "work", "primary": True}],
    )
    assert made["name"] == {"givenName": "Zoé", "familyName": "Roux", "formatted": "Zoé Roux"}
    assert made[ENTERPRISE] == {"department": "Achats", "employeeNumber": "77"}
    for wanted in (
        'userName eq "ZOE.ROUX@EX.FR"',
        f'externalId eq "{ENTRA["externalId"]}"',
        f'id eq "{made["id"]}"',
        'emails[type eq "work"].value eq "zoe.roux@ex.fr"',
        f'userName eq "zoe.roux@ex.fr" and externalId eq "{ENTRA["externalId"]}"',
    ):
        found = scim("GET", f"Users?filter={wanted.replace(' ', '%20')}")
        assert [each["id"] for each in found["Resources"]] == [made["id"]], wanted
    again = scim("POST", "Users", ENTRA, 409)
    assert again["scimType"] == "uniqueness"
    person = scim.archive.one.people.at_head().get(made["id"])
    assert person.external == {
        "scim": "zoe.roux@ex.fr",
        "scim_external": ENTRA["externalId"],
        "employee": "77",
    }


def test_entra_changes_single_attributes_by_paths(scim):
    user = scim("POST", "Users", ENTRA, 201)["id"]
    changed = scim.patch(
        user,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "z.roux@ex.fr"},
        {"op": "Replace", "path": "name.familyName", "value": "Roux-Petit"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Ventes"},
        {
            "op": "Replace",
            "value": {"displayName": "Zoé Roux-Petit", f"{ENTERPRISE}:organization": "Exemple"},
        },
        {"op": "Remove", "path": f"{ENTERPRISE}:employeeNumber"},
    )
    assert changed["emails"][0]["value"] == "z.roux@ex.fr"
    assert changed["name"]["familyName"] == "Roux-Petit" and changed["displayName"] == "Zoé Roux-Petit"
    assert changed[ENTERPRISE]["department"] == "Ventes"
    assert changed[ENTERPRISE]["organization"] == "Exemple"
    assert scim.spans(user) == {("zoe.roux@ex.fr", None, TODAY), ("z.roux@ex.fr", None, None)}
    other = scim.patch(user, {"op": "add", "path": 'emails[type eq "home"].value', "value": "zoe@home.fr"})
    assert [each["value"] for each in other["emails"]] == ["z.roux@ex.fr", "zoe@home.fr"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "replace", "path": "active", "value": False},
        {"op": "replace", "value": {"active": False}},
        {"op": "Replace", "value": {"active": "false"}},
    ],
    ids=str,
)
def test_who_is_deactivated_has_left_and_stays_in_the_directory(scim, operation):
    user = scim("POST", "Users", ENTRA, 201)["id"]
    assert scim.patch(user, operation)["active"] is False
    person = scim.archive.one.people.at_head().get(user)
    assert person.left == TODAY and scim.spans(user) == {("zoe.roux@ex.fr", None, None)}
    answer = scim.archive.call("POST", "/v1/search", "legal", json={"query": f"custodian:{user}"}).json()
    assert answer["custodians"][0]["addresses"][0]["address"] == "zoe.roux@ex.fr"
    assert scim("GET", f"Users/{user}")["active"] is False
    assert scim.patch(user, {"op": "Replace", "path": "active", "value": "True"})["active"] is True
    assert scim.archive.one.people.at_head().get(user).left is None


def test_who_is_deleted_is_gone_from_scim_and_has_left(scim):
    user = scim("POST", "Users", ENTRA, 201)["id"]
    scim("DELETE", f"Users/{user}", code=204)
    scim("GET", f"Users/{user}", code=404)
    scim("DELETE", f"Users/{user}", code=404)
    assert scim("GET", "Users?filter=userName%20eq%20%22zoe.roux@ex.fr%22")["totalResults"] == 0
    person = scim.archive.one.people.at_head().get(user)
    assert (person.left, person.external) == (TODAY, {"employee": "77"})
    shown = scim.archive.call("GET", f"/v1/custodians/{user}", "legal").json()
    assert shown["resolved"]["addresses"][0]["address"] == "zoe.roux@ex.fr"
    back = scim("POST", "Users", ENTRA | {"externalId": "other"}, 201)  # the employee's number is his
    assert (back["id"], back["active"], back["emails"][0]["value"]) == (user, True, "zoe.roux@ex.fr")
    assert scim.archive.one.people.at_head().get(user).left is None


def test_okta_puts_whole_users(scim):
    body = {
        "schemas": [USER],
        "userName": "okta@ex.fr",
        "name": {"givenName": "O", "familyName": "Kta"},
        "emails": [{"primary": True, "value": "okta@ex.fr", "type": "work"}],
        "password": "never kept",
        "active": True,
        "groups": [],
        "locale": "fr-FR",
    }
    made = scim("POST", "Users", body, 201)
    assert (made["displayName"], "password" in made) == ("O Kta", False)
    more = [*body["emails"], {"primary": False, "value": "alias@ex.fr", "type": "other"}]
    put = scim("PUT", f"Users/{made['id']}", made | {"emails": more, "active": False})
    assert [each["value"] for each in put["emails"]] == ["okta@ex.fr", "alias@ex.fr"]
    assert put["active"] is False
    late = scim("PUT", f"Users/{made['id']}", body, 412, headers={"If-Match": made["meta"]["version"]})
    assert late["detail"]
    assert scim("PUT", f"Users/{made['id']}", body, headers={"If-Match": put["meta"]["version"]})["active"]


def test_a_person_known_from_elsewhere_becomes_the_user(scim):
    made = scim("POST", "Users", {"userName": "anne", "emails": [{"value": "A.Martin@ex.fr"}]}, 201)
    assert made["id"] == "c-there"
    assert ("anne@ex.fr", None, "2025-12-31") in scim.spans("c-there")
    taken = scim("POST", "Users", {"userName": "x", "emails": [{"value": "bob@ex.fr"}]}, 409)
    assert taken["scimType"] == "uniqueness" and "@" not in taken["detail"]


def test_pages_and_attributes(scim):
    for number in range(5):
        scim("POST", "Users", {"userName": f"u{number}@ex.fr"}, 201)
    page = scim("GET", "Users?startIndex=3&count=2&attributes=userName")
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (6, 3, 2)
    assert [each["userName"] for each in page["Resources"]] == ["u1@ex.fr", "u2@ex.fr"]
    assert set(page["Resources"][0]) == {"schemas", "id", "userName"}
    assert scim("GET", "Users?count=0")["Resources"] == []
    assert scim("GET", "Users?startIndex=-3&count=1")["startIndex"] == 1
    assert scim("GET", "Users?startIndex=99")["Resources"] == []
    assert "emails" not in scim("GET", "Users/c-scim?excludedAttributes=emails,id")


def test_groups_have_the_members_of_today(scim):
    user = scim("POST", "Users", ENTRA, 201)["id"]
    made = scim("POST", "Groups", {"displayName": "Ventes", "members": [{"value": user}]}, 201)
    group = made["id"]
    assert [each["value"] for each in made["members"]] == [user]
    scim("POST", "Groups", {"displayName": "ventes"}, 409)
    found = scim("GET", "Groups?excludedAttributes=members&filter=displayName%20eq%20%22Ventes%22")
    assert found["Resources"][0]["id"] == group and "members" not in found["Resources"][0]
    add = {"op": "Add", "path": "members", "value": [{"value": "c-scim"}]}
    assert len(scim.patch(group, add, kind="Groups")["members"]) == 2
    gone = {"op": "Remove", "path": "members", "value": [{"value": user}]}  # Entra ID's way
    assert [each["value"] for each in scim.patch(group, gone, kind="Groups")["members"]] == ["c-scim"]
    gone = {"op": "remove", "path": 'members[value eq "c-scim"]'}
    assert scim.patch(group, gone, kind="Groups")["members"] == []
    person = scim.archive.one.people.at_head().get(user)
    assert [(each.group, each.begins, each.until) for each in person.groups] == [(group, None, TODAY)]
    renamed = scim.patch(
        group, {"op": "replace", "path": "displayName", "value": "ventes@ex.fr"}, kind="Groups"
    )
    assert renamed["displayName"] == "ventes@ex.fr"
    assert scim.archive.one.people.at_head().group(group).address == "ventes@ex.fr"
    put = scim("PUT", f"Groups/{group}", {"displayName": "Ventes", "members": [{"value": user}]})
    assert [each["value"] for each in put["members"]] == [user]
    scim("PUT", f"Groups/{group}", {"displayName": "Ventes", "members": [{"value": "c-none"}]}, 400)
    scim("DELETE", f"Groups/{group}", code=204)
    scim("GET", f"Groups/{group}", code=404)
    assert scim.archive.one.people.at_head().group(group).ended == TODAY


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "invalidSyntax"),
        ({"Operations": []}, "invalidSyntax"),
        ({"Operations": ["x"]}, "invalidSyntax"),
        ({"Operations": [{"op": "move", "path": "active"}]}, "invalidSyntax"),
        ({"Operations": [{"op": "remove"}]}, "noTarget"),
        ({"Operations": [{"op": "replace", "value": "x"}]}, "noTarget"),
        ({"Operations": [{"op": "replace", "path": "a b", "value": 1}]}, "invalidPath"),
        ({"Operations": [{"op": "replace", "path": "emails[type co 3].value", "value": 1}]}, "invalidPath"),
        ({"Operations": [{"op": "replace", "path": "active", "value": "perhaps"}]}, "invalidValue"),
        ({"Operations": [{"op": "replace", "path": "userName", "value": ""}]}, "invalidValue"),
        ({"Operations": [{"op": "replace", "path": "userName.x.y", "value": ""}]}, "invalidPath"),
        ({"Operations": [{"op": "add", "path": "emails", "value": [{"value": "no"}]}]}, "invalidValue"),
        ({"Operations": [{"op": "replace", "path": "name", "value": "Anne"}]}, "invalidValue"),
        ({"Operations": [{"op": "replace", "path": "displayName", "value": "a\nb"}]}, "invalidValue"),
        ({"Operations": [{"op": "replace", "path": "displayName.x", "value": "y"}]}, "invalidPath"),
    ],
    ids=str,
)
def test_a_patch_that_cannot_be_changes_nothing(scim, body, kind):
    before = scim("GET", "Users/c-scim")
    assert scim("PATCH", "Users/c-scim", body, 400)["scimType"] == kind
    assert scim("GET", "Users/c-scim") == before


@pytest.mark.parametrize(
    "wanted", ["userName co x", "userName eq x", 'title eq "x"', "userName", '"x"', "active eq true"]
)
def test_a_filter_that_is_not_understood_is_said_to_be(scim, wanted):
    assert scim("GET", f"Users?filter={wanted.replace(' ', '%20')}", code=400)["scimType"] == "invalidFilter"


@pytest.mark.parametrize("attribute", ["id", "emails", "emails.value", "displayName"])
def test_a_filter_finds_nobody_whom_the_provider_does_not_keep(scim, attribute):
    body = {"name": "Max Noir", "addresses": [{"address": "max@ex.fr"}]}
    made = scim.archive.call("POST", "/v1/custodians", "admin", json=body)
    assert made.status_code == 201, made.text
    value = {"id": made.json()["id"], "displayName": "Max Noir"}.get(attribute, "max@ex.fr")
    found = scim("GET", f"Users?filter={attribute}%20eq%20%22{value}%22".replace("Max Noir", "Max%20Noir"))
    assert (found["totalResults"], found["Resources"]) == (0, [])


def test_it_says_what_it_can(scim):
    config = scim("GET", "ServiceProviderConfig")
    assert config["patch"]["supported"] and not config["bulk"]["supported"]
    assert [each["id"] for each in scim("GET", "ResourceTypes")["Resources"]] == ["User", "Group"]
    known = {each["id"] for each in scim("GET", "Schemas")["Resources"]}
    assert known == {USER, ENTERPRISE, "urn:ietf:params:scim:schemas:core:2.0:Group"}
    assert scim("GET", f"Schemas/{USER}")["id"] == USER
    scim("GET", "Schemas/none", code=404)
    scim("GET", "ResourceTypes/None", code=404)


def test_who_may_not_is_told_in_the_form_of_scim(scim):
    scim("POST", "Users", ENTRA, 403, role="legal")
    scim("GET", "Users", code=403, role="auditor")
    denied = scim("GET", "Users", code=401, role=None)
    assert denied["detail"]
    malformed = scim.archive.call(
        "POST", "/scim/v2/Users", "admin", content=b"{", headers={"Content-Type": "application/scim+json"}
    )
    assert (malformed.status_code, malformed.json()["scimType"]) == (400, "invalidSyntax")


def test_nothing_changes_unrecorded(scim):
    from archive_service.model.errors import StoreError

    scim.archive.one.access_log.broken = StoreError("no")
    before = scim.archive.one.people.at_head().last
    scim("POST", "Users", ENTRA, 503)
    scim("PUT", "Users/c-scim", ENTRA, 503)
    scim("DELETE", "Users/c-scim", code=503)
    scim("POST", "Groups", {"displayName": "x"}, 503)
    scim.patch("g-scim", {"op": "remove", "path": "members"}, code=503, kind="Groups")
    assert scim.archive.one.people.at_head().last == before


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe{", b"[]", b"null", b""], ids=["cut", "no text", "list", "null", "none"]
)
@pytest.mark.parametrize("path", ["Users", "Groups"])
def test_a_body_that_is_none_of_scims_is_a_scim_error(tmp_path, path, body):
    archive = archive_with_export(tmp_path)
    headers = {"Content-Type": "application/scim+json"}
    response = archive.call("POST", f"/scim/v2/{path}", "admin", headers=headers, content=body)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/scim+json")
    assert response.json()["schemas"] == [ERROR]
