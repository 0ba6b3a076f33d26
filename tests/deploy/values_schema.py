"""The chart's values.schema.json: its settings and secrets from the service's own Settings, the rest written here.

``python -m tests.deploy.values_schema`` writes it anew; test_helm_chart.py compares.
"""

import json
from pathlib import Path
from typing import Any

from archive_service.settings import Settings

CHART = Path(__file__).resolve().parents[2] / "helm" / "archive-service"
BY_CHART = frozenset(
    {
        *("data", "store", "work", "index", "smtp", "milter", "http", "health", "kms_folder"),
        *("smtp_tls_certificate", "smtp_tls_key", "s3_ca_bundle", "vault_ca_bundle", "es_ca_bundle"),
        *("alarm_webhook_ca_bundle", "alarm_mail_ca_bundle"),
    }
)
"""Settings that the templates give, or that an archive on S3 does not have."""
_NAMES_OF_USERS = frozenset(
    {"s3_access_key", "keys_a_access_key", "keys_b_access_key", "es_user", "alarm_mail_user"}
)
"""Not secret by themselves, and kept beside what is."""
_NUMBERS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "exclusiveMinimum",
    "exclusiveMaximum": "exclusiveMaximum",
}


_ADDRESSES = ("s3_endpoint", "keys_a_endpoint", "keys_b_endpoint", "vault_address")
_URL = "https?://[^@,\\s]+"


def secret_names() -> list[str]:
    """Settings that come from a Secret."""
    described = Settings.model_json_schema()["properties"]
    return [name for name, said in described.items() if name in _NAMES_OF_USERS or _is_secret(said)]


def _alternatives(said: dict[str, Any]) -> list[dict[str, Any]]:
    return said.get("anyOf", [said])


def _is_secret(said: dict[str, Any]) -> bool:
    return any(each.get("format") == "password" for each in _alternatives(said))


def plain_settings() -> dict[str, Any]:
    """Every setting that may stand in a ConfigMap, as a schema."""
    described = Settings.model_json_schema()["properties"]
    left_out = {*BY_CHART, *secret_names()}
    found = {name: _plain(said) for name, said in described.items() if name not in left_out}
    for place in ("keys_a", "keys_b"):  # a folder would be a pod's own, and gone with it
        found[place]["pattern"] = "^s3://"
    for name in _ADDRESSES:  # a login in it would be a secret in a ConfigMap
        found[name]["pattern"] = f"^{_URL}$"
    found["es_url"]["pattern"] = f"^{_URL}( *, *{_URL})*$"
    found["es_prefix"]["pattern"] = "^[a-z0-9][a-z0-9_-]{0,63}$"
    return found


def _plain(said: dict[str, Any]) -> dict[str, Any]:
    kind = next(each for each in _alternatives(said) if each.get("type") != "null")
    result: dict[str, Any] = {"type": kind["type"], "description": said["description"]}
    result |= {ours: kind[theirs] for theirs, ours in _NUMBERS.items() if theirs in kind}
    if "enum" in kind:
        result["enum"] = kind["enum"]
    elif kind["type"] == "string":
        result["minLength"] = 1
    return result


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": required} if required else found


def _many(items: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def _integer(least: int, most: int | None = None) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


_TEXT = {"type": "string"}
_SOME_TEXT = {"type": "string", "minLength": 1}
_YES_NO = {"type": "boolean"}
_NAME = {"type": "string", "pattern": "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"}
_QUANTITY = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|[kKMGT]i?)?$"}
_STRINGS = {"type": "object", "additionalProperties": _TEXT}
_RESOURCES = _object(
    {part: {"type": "object", "additionalProperties": _QUANTITY} for part in ("requests", "limits")}
)
_PEERS = _many(
    _object({part: {"type": "object"} for part in ("ipBlock", "namespaceSelector", "podSelector")})
)
_PORT = {"anyOf": [_integer(1, 65535), _NAME]}
_PORTS = _many(
    _object(
        {"protocol": {"enum": ["TCP", "UDP", "SCTP"]}, "port": _PORT, "endPort": _integer(1, 65535)},
        ["protocol", "port"],
    ),
    1,
)
_RULES = _many(_object({"to": {**_PEERS, "minItems": 1}, "ports": _PORTS}, ["to", "ports"]))
_CIDR = {
    "type": "string",
    "pattern": "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:]*)/[0-9]{1,3}$",
}


def _role(replicas: dict[str, Any], **more: Any) -> dict[str, Any]:
    return _object(
        {
            "replicas": replicas,
            "preStopSeconds": _integer(0, 300),
            "terminationGracePeriodSeconds": _integer(90),
            "resources": _RESOURCES,
            "podAnnotations": _STRINGS,
            "priorityClassName": _TEXT,
            "nodeSelector": _STRINGS,
            "tolerations": _many({"type": "object"}),
            **more,
        }
    )


def _autoscaling() -> dict[str, Any]:
    return _object(
        {
            "enabled": _YES_NO,
            "minReplicas": _integer(1, 64),
            "maxReplicas": _integer(1, 64),
            "cpuPercent": _integer(10, 100),
        }
    )


def _smtp() -> dict[str, Any]:
    service = {"type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}, "port": _integer(1, 65535)}
    return _role(
        _integer(0, 64),
        allowedCIDRs=_many(_CIDR, 1),
        tls=_object({"existingSecret": _NAME}),
        service=_object({**service, "annotations": _STRINGS}),
        milter=_object({"enabled": _YES_NO, "port": _integer(1, 65535)}),
        autoscaling=_autoscaling(),
    )


def _api() -> dict[str, Any]:
    ingress = {
        "enabled": _YES_NO,
        "className": _TEXT,
        "host": _NAME,
        "tlsSecret": _NAME,
        "annotations": _STRINGS,
    }
    return _role(_integer(0, 64), ingress=_object(ingress), autoscaling=_autoscaling())


def _network_policy() -> dict[str, Any]:
    reached = dict.fromkeys(("dns", "store", "keyService", "catalog", "index", "alarms"), _RULES)
    return _object({"enabled": _YES_NO, "apiFrom": _PEERS, "metricsFrom": _PEERS, "egress": _object(reached)})


def _monitoring() -> dict[str, Any]:
    interval = {"type": "string", "pattern": "^[0-9]+(s|m)$"}
    monitor = _object({"enabled": _YES_NO, "interval": interval, "labels": _STRINGS})
    rule = _object({"enabled": _YES_NO, "labels": _STRINGS, "runbook": _TEXT})
    return _object({"serviceMonitor": monitor, "prometheusRule": rule})


def _secrets() -> dict[str, Any]:
    reference = _object({"name": {**_NAME, "minLength": 1}, "key": _SOME_TEXT}, ["name", "key"])
    found = _object(dict.fromkeys(secret_names(), reference), ["catalog_url"])
    pairs = ("s3", "keys_a", "keys_b")
    found["dependencies"] = {f"{each}_access_key": [f"{each}_secret_key"] for each in pairs} | {
        f"{each}_secret_key": [f"{each}_access_key"] for each in pairs
    }
    found["dependencies"] |= {"es_user": ["es_password"], "es_password": ["es_user"]}
    found["dependencies"]["es_api_key"] = {"properties": {"es_user": {"type": "null"}}}
    return found


def _settings() -> dict[str, Any]:
    needed = ["s3_bucket", "keys_a", "keys_b", "kms", "smtp_domain", "smtp_hostname", "es_url"]
    return _object(plain_settings(), needed)


def _where(path: str, said: dict[str, Any]) -> dict[str, Any]:
    """``said`` of the value at ``a.b.c``, which must be there."""
    for part in reversed(path.split(".")):
        said = {"required": [part], "properties": {part: said}}
    return said


def _when(path: str, value: Any, *then: dict[str, Any]) -> dict[str, Any]:
    return {"if": _where(path, {"const": value}), "then": {"allOf": list(then)}}


def _conditions() -> list[dict[str, Any]]:
    """What one value asks of others."""
    some, text = {"minItems": 1}, {"minLength": 1}
    walled = _where("networkPolicy.enabled", {"const": True})
    reached = [_where(f"networkPolicy.egress.{part}", some) for part in ("dns", "store", "catalog", "index")]
    return [
        _when(
            "settings.kms",
            "vault",
            *[_where(p, {}) for p in ("settings.vault_address", "secrets.vault_token")],
        ),
        _when("settings.kms", "local-file", _where("kmsFolder.existingClaim", text)),
        _when(
            "settings.kms",
            "pkcs11",
            *[
                _where(p, {})
                for p in ("settings.pkcs11_module", "settings.pkcs11_token", "secrets.pkcs11_pin")
            ],
        ),
        _when(
            "api.ingress.enabled",
            True,
            *[_where(f"api.ingress.{part}", text) for part in ("host", "tlsSecret")],
        ),
        _when("networkPolicy.enabled", True, *reached),
        {
            "if": {"allOf": [walled, _where("settings.kms", {"const": "vault"})]},
            "then": _where("networkPolicy.egress.keyService", some),
        },
        {
            "if": {"allOf": [walled, _where("api.ingress.enabled", {"const": True})]},
            "then": _where("networkPolicy.apiFrom", some),
        },
        {
            "if": {"allOf": [walled, _where("monitoring.serviceMonitor.enabled", {"const": True})]},
            "then": _where("networkPolicy.metricsFrom", some),
        },
        {
            "if": {
                "allOf": [
                    walled,
                    {
                        "anyOf": [
                            _where("secrets.alarm_webhook_url", {}),
                            _where("settings.alarm_mail_server", {}),
                        ]
                    },
                ]
            },
            "then": _where("networkPolicy.egress.alarms", some),
        },
        {
            "if": _where("trustedCA.services", {"minItems": 1}),
            "then": _where("trustedCA.existingConfigMap", text),
        },
    ]


def schema() -> dict[str, Any]:
    """All of it, JSON Schema draft 7: what every Helm 3 understands."""
    services = {"enum": ["s3", "vault", "es", "alarm_webhook", "alarm_mail"]}
    image = {
        "repository": _SOME_TEXT,
        "tag": _TEXT,
        "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "pullSecrets": _many({**_NAME, "minLength": 1}),
    }
    properties = {
        "global": {"type": "object"},
        "fullnameOverride": _NAME,
        "image": _object(image),
        "runAs": _object({"user": _integer(1), "group": _integer(1)}),
        "listen": {"enum": ["0.0.0.0", "[::]"]},
        "settings": _settings(),
        "secrets": _secrets(),
        "trustedCA": _object({"existingConfigMap": _NAME, "key": _SOME_TEXT, "services": _many(services)}),
        "kmsFolder": _object({"existingClaim": _NAME}),
        "workFolder": _object({"sizeLimit": _QUANTITY}),
        "tmpFolder": _object({"sizeLimit": _QUANTITY}),
        "exports": _object({"existingClaim": _NAME, "storageClass": _TEXT, "size": _QUANTITY}),
        "serviceAccount": _object({"create": _YES_NO, "name": _NAME, "annotations": _STRINGS}),
        "smtp": _smtp(),
        "api": _api(),
        "follower": _role(_integer(0, 8)),
        "scheduler": _role(_integer(0, 1), workClaim=_NAME),
        "init": _object({"tenant": _TEXT, "createBuckets": _YES_NO, "resources": _RESOURCES}),
        "networkPolicy": _network_policy(),
        "monitoring": _monitoring(),
    }
    top = _object(properties, ["settings", "secrets", "smtp"])
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top, "allOf": _conditions()}


def text() -> str:
    """As the file holds it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(text(), "utf-8")
