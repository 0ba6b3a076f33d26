"""One request body a route, as the OpenAPI description shows it; tests send each."""

from typing import Any

BODIES: dict[str, Any] = {
    "POST /v1/search": {"query": "*"},
    "POST /v1/exports": {"query": "*", "formats": ["bundle"]},
    "POST /v1/break-glass": {"role": "legal", "minutes": 60, "reason": "nobody of them answers"},
    "POST /v1/accounts": {
        "name": "siem",
        "role": "auditor",
        "only": ["access_log"],
        "ends": "2026-06-01T00:00:00Z",
    },
    "POST /v1/sources": {"name": "Siège", "kind": "exchange"},
    "PATCH /v1/sources/{id}": {"tls": True},
    "POST /v1/sources/{id}/rotations": {"overlap_seconds": 60},
    "POST /v1/custodians": {"name": "Zoé"},
    "POST /v1/custodians/import": "id,address\n7,zoe@ex.fr\n",
    "PUT /v1/custodians/{id}": {"name": "Anne", "version": 2},
    "POST /scim/v2/Users": {"userName": "zoe@ex.fr"},
    "PUT /scim/v2/Users/{id}": {"userName": "bob@ex.fr"},
    "PATCH /scim/v2/Users/{id}": {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]},
    "POST /scim/v2/Groups": {"displayName": "Ventes"},
    "PUT /scim/v2/Groups/{id}": {"displayName": "Ventes"},
    "PATCH /scim/v2/Groups/{id}": {
        "Operations": [{"op": "Add", "path": "members", "value": [{"value": "c-scim"}]}]
    },
    "POST /v1/approvals": {
        "action": "grant.give",
        "request": {"subject": "rita", "role": "reviewer"},
        "reason": "why",
    },
    "POST /v1/approvals/{id}/approve": {"reason": "so"},
    "POST /v1/approvals/{id}/refuse": {"reason": "no"},
    "POST /v1/grants": {"subject": "rita", "role": "reviewer", "reason": "why"},
    "POST /v1/grants/{id}/revoke": {"reason": "over"},
    "POST /v1/recertifications": {"confirmed": ["g7c1"], "withdraw": ["g0a4"], "note": "revue annuelle"},
    "POST /v1/matters": {"name": "Affaire 2", "purpose": "enquête"},
    "PUT /v1/matters/{id}": {"name": "Affaire 3", "purpose": "enquête"},
    "POST /v1/matters/{id}/holds": {
        "name": "Paie",
        "ground": "litige",
        "claim": "RG 26/01234",
        "owner": "zoe",
        "review": "2026-05-30T12:00:00.000000Z",
        "query": "contrat",
    },
    "POST /v1/matters/{id}/holds/{hold}/review": {
        "review": "2026-05-30T12:00:00.000000Z",
        "note": "toujours utile",
    },
    "POST /v1/matters/{id}/holds/{hold}/release": {"reason": "fini"},
    "POST /v1/incidents": {"reason": "vol d'un poste"},
    "POST /v1/incidents/{id}/close": {"reason": "fini"},
    "POST /v1/compartments": {
        "name": "alertes",
        "officers": [
            {"subject": "rita", "role": "alert_officer"},
            {"subject": "max", "role": "alert_officer"},
        ],
        "reason": "Sapin II",
    },
    "POST /v1/exclusions": {
        "name": "médecin",
        "basis": "Code du travail L4624-8",
        "addresses": ["dr@ex.fr"],
        "domains": ["ex.fr"],
        "compartment": "k-there",
        "reason": "convention",
    },
    "POST /v1/erasures": {"messages": ["m1"], "ground": "request", "basis": "RGPD 17", "reason": "why"},
    "POST /v1/schedules": {"schedule": {}, "reason": "why"},
    "POST /v1/schedules/dry-run": {"schedule": {}},
    "POST /v1/dispositions": {"reason": "why"},
    "POST /v1/dispositions/{id}/stop": {"reason": "why"},
}
