"""An access entry proven to somebody who does not trust the archive: with its proof alone."""

import base64
import hashlib
import json

import pytest
import zstandard

from archive_service.following import make_checkpointer
from archive_service.ledger.merkle import verify_inclusion
from archive_service.ledger.note import Verifier
from archive_service.vault import chunked
from tests.flow.archive_fixtures import no_settings_around

__all__ = ["no_settings_around"]


def proven(api):
    """The newest search of anne's, and its proof."""
    api.follow()
    api.call("POST", "/v1/search", "legal", "anne", query="secret", purpose="enquête")
    entry = api.call("GET", "/v1/access-log?actor=anne", "auditor", "aude").json()["entries"][0]
    make_checkpointer(api.core, 0).run_once()
    answer = api.call(
        "GET", f"/v1/access-log/{entry['log'].split('/')[-1]}/{entry['seq']}/proof", "auditor", "aude"
    )
    assert answer.status_code == 200, answer.text
    return entry, answer.json()


def test_who_looked_is_proven_by_the_proof_alone(api):
    _, proof = proven(api)
    line = proof["entry"].encode()
    note = Verifier(proof["keys"]["log"]).check(proof["checkpoint"], proof["log"])
    hashes = [base64.b64decode(each) for each in proof["inclusion"]["hashes"]]
    index, size = proof["inclusion"]["index"], proof["inclusion"]["tree_size"]
    leaf = hashlib.sha256(b"\0" + line).digest()
    assert verify_inclusion(leaf, index, size, hashes, note.root)
    assert not verify_inclusion(hashlib.sha256(b"\0" + line + b" ").digest(), index, size, hashes, note.root)
    payload = json.loads(line)["payload"]
    context = b"archive-service/payload/v1\0" + f"{proof['log']}/{payload['name']}".encode()
    frame = chunked.open_bytes(
        bytes.fromhex(proof["opening"]["key"]), context, base64.b64decode(payload["sealed"])
    )
    said = json.loads(zstandard.ZstdDecompressor().decompress(frame))
    assert said == proof["event"]
    assert (said["actor"], said["action"], said["purpose"]) == ("anne", "search", "enquête")
    assert said["detail"]["query"] == "secret"


def test_its_key_opens_no_other_entry(api):
    _, proof = proven(api)
    other = api.call("GET", "/v1/access-log?actor=aude", "auditor", "aude").json()["entries"][0]
    log = other["log"].split("/")[-1]
    make_checkpointer(api.core, 0).run_once()
    theirs = api.call("GET", f"/v1/access-log/{log}/{other['seq']}/proof", "auditor", "aude").json()
    assert theirs["opening"]["key"] != proof["opening"]["key"]


@pytest.mark.parametrize(
    "place", ["access-1/99999", "capture-1/0", "acts/0", "access-0/0", "access-1%2F..%2Facts/0"]
)
def test_what_is_no_access_entry_is_not_found(api, place):
    proven(api)
    answer = api.call("GET", f"/v1/access-log/{place}/proof", "auditor", "aude")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_claim_of_a_slot_is_no_access_entry(api):
    proven(api)
    assert api.call("GET", "/v1/access-log/access-1/0/proof", "auditor", "aude").status_code == 404
