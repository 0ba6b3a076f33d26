"""``make demo``: the whole promise once, with real processes, ports, mail and proofs. Ends with exit 0, or says what
failed. Uses the service only from outside: its command line, SMTP, HTTP.

``--keep`` leaves the service running at the end.
"""

import argparse
import json
import os
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.executable).parent / "archive-service"
OWN = REPOSITORY / "tests" / "samples"
OTHERS = REPOSITORY.parent / "shared" / "corpus" / "journal"
PATIENCE = 60.0


def say(title: str, *lines: str) -> None:
    """One step's heading and what it proved."""
    print(f"\n== {title}")
    for line in lines:
        print(f"   {line}")


def run(*arguments: object, expect: int = 0) -> dict[str, Any]:
    """A command's JSON answer. Raises SystemExit when it does not end as expected."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != expect:
        sys.exit(f"archive-service {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


class Http:
    """The API, as one caller."""

    def __init__(self, address: str, token: str) -> None:
        self._base = f"http://{address}"
        self._token = token

    def raw(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The answer's bytes. Raises urllib.error.HTTPError."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer as JSON."""
        answer: dict[str, Any] = json.loads(self.raw(method, path, body))
        return answer


def samples() -> list[Path]:
    """Real journal reports where they are at hand, and the project's own."""
    own = [path for path in sorted(OWN.glob("*.eml")) if path.name.startswith(("m365", "exchange"))]
    return [*sorted(OTHERS.glob("*.eml")), *own]


def send(address: str, recipient: str, mails: list[bytes]) -> list[str]:
    """Each mail over SMTP; the replies to DATA."""
    host, _, port = address.rpartition(":")
    replies = []
    with smtplib.SMTP(host, int(port), timeout=60) as smtp:
        smtp.ehlo("exchange.example.fr")
        for mail in mails:
            smtp.mail("<>")
            code, text = smtp.rcpt(recipient)
            if code != 250:
                sys.exit(f"RCPT: {code} {text.decode()}")
            code, text = smtp.data(mail)
            if code != 250:
                sys.exit(f"DATA: {code} {text.decode()}")
            replies.append(f"{code} {text.decode()}")
    return replies


def refused(address: str) -> str:
    """What a stranger's recipient address hears."""
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=60) as smtp:
        smtp.ehlo("stranger.example.com")
        smtp.mail("<>")
        code, text = smtp.rcpt("somebody@example.com")
        return f"{code} {text.decode()}"


def until(what: str, look: Any) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"gave up waiting for {what}")


def start(data: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """The service on free loopback ports, and where it is."""
    command = [PROGRAM, "serve", "--data", data, "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"]
    log = (data / "run" / "serve.log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        sys.exit("the service did not start:\n" + (data / "run" / "serve.log").read_text())
    return process, json.loads(line)


def crlf(data: bytes) -> bytes:
    """A file as SMTP carries it."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def flip(copy: Path) -> str:
    """Change one byte of one sealed mail in a copy of the archive."""
    victim = max(
        (path for path in (copy / "objects").rglob("*-[0-9]*") if path.is_file()),
        key=lambda p: p.stat().st_size,
    )
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(data)
    return str(victim.relative_to(copy))


def tour(data: Path, work: Path, where: dict[str, Any], source: dict[str, Any]) -> None:
    """Send, find, read, prove, export, verify, tamper."""
    files = samples()
    mails = [crlf(path.read_bytes()) for path in files]
    replies = send(where["smtp"], source["address"], mails)
    say(
        f"{len(mails)} journal reports sent over SMTP",
        replies[0],
        f"... {replies[-1]}",
        "each 250 came after the sealed mail, its key in both places, and its ledger entry were on disk",
        f"a stranger's address: {refused(where['smtp'])}",
    )

    token = run(
        "token", "--data", data, "--tenant", "demo", "--role", "compliance_officer", "--subject", "anne"
    )
    http = Http(where["http"], token["token"])
    found = until("the mails to be searchable", lambda: everything(http, len(files)))
    say(
        "Follower: reports unwrapped, messages identified and indexed",
        f"{found['total']} messages from {len(mails)} captures: reports of one message are merged, none is dropped",
    )

    hits = http.json("POST", "/v1/search", {"query": "subject:facture OR invoice", "purpose": "demo"})
    say(
        "POST /v1/search  subject:facture OR invoice",
        *(f"{hit['sent_at']}  {hit['from']}  {hit['subject']}" for hit in hits["hits"]),
        f"total {hits['total']}",
    )
    first = hits["hits"][0]["id"]
    message = http.json("GET", f"/v1/messages/{first}")
    say(
        "The journal's envelope, with roles",
        *(f"{each['role']:8} {each['address']}" for each in message["recipients"]),
        f"envelope complete: {message['envelope_complete']}",
    )
    proof = until("a proof", lambda: try_json(http, f"/v1/messages/{first}/proof"))
    inclusion = proof["captures"][0]["inclusion"]
    say(
        "GET /v1/messages/{id}/proof",
        f"entry {inclusion['index']} of {inclusion['tree_size']}, {len(inclusion['hashes'])} hashes to a signed root,",
        "and that root is anchored in the archive's root log",
    )

    bundle = export(http, work)
    checked = run("verify-bundle", bundle)
    offline(bundle, work)
    say(
        "Evidence bundle: verified offline, twice",
        f"{bundle}",
        f"archive-service verify-bundle: ok={checked['ok']}",
        "python3 verify.py (standard library and openssl only): OK",
    )

    auditor = run("token", "--data", data, "--tenant", "demo", "--role", "auditor")
    log = Http(where["http"], auditor["token"]).json("GET", "/v1/access-log?limit=20")
    said = [f"{row['time']}  {row['actor']}  {row['action']}" for row in log["entries"][:5]]
    say("GET /v1/access-log: every look left a trace", *said)

    clean = run("verify", "--data", data)
    say(
        "archive-service verify, beside the running service",
        f"clean={clean['clean']}; {clean['checked']['entries']} entries, {clean['checked']['objects']} objects, "
        f"{clean['checked']['checkpoints']} checkpoints, {clean['checked']['rows']} rows",
    )
    copy = work / "copy"
    shutil.copytree(data, copy, symlinks=True)
    name = flip(copy)
    damaged = run("verify", "--data", copy, expect=1)
    problem = next(each for each in damaged["problems"] if each["severity"] == "damage")
    say(
        "One byte flipped in a copy of the archive",
        f"flipped in {name}",
        f"verify: {problem['what']} {problem['name']}",
        f"(entry {problem['seq']} of {problem['log']}): {problem['detail']}",
    )


def everything(http: Http, captures: int) -> dict[str, Any] | None:
    """All messages, once all captures are in."""
    try:
        found = http.json("POST", "/v1/search", {"query": "*", "limit": 200, "purpose": "demo"})
    except urllib.error.HTTPError:
        return None
    seen = sum(len(http.json("GET", f"/v1/messages/{hit['id']}")["captures"]) for hit in found["hits"])
    return found if seen == captures else None


def try_json(http: Http, path: str) -> dict[str, Any] | None:
    """An answer, or None while the service says 503."""
    try:
        return http.json("GET", path)
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise


def export(http: Http, work: Path) -> Path:
    """A bundle of everything, downloaded."""
    asked = {"query": "*", "formats": ["bundle"], "matter": "Démonstration", "purpose": "demo"}
    job = http.json("POST", "/v1/exports", asked)

    def finished() -> dict[str, Any] | None:
        state = http.json("GET", f"/v1/exports/{job['id']}")
        if state["state"] == "failed":
            sys.exit(f"the export failed: {state}")
        return state if state["state"] == "done" else None

    until("the export", finished)
    target = work / "bundle.zip"
    target.write_bytes(http.raw("GET", f"/v1/exports/{job['id']}/download"))
    return target


def offline(bundle: Path, work: Path) -> None:
    """The script in the bundle, with a bare Python and nothing of this project."""
    folder = work / "bundle"
    with zipfile.ZipFile(bundle) as zipped:
        zipped.extractall(folder)
    bare = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py"],
        cwd=folder,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"verify.py: {done.stdout}{done.stderr}")


def main() -> int:
    """Run the tour in a folder of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true", help="leave the service running")
    keep = parser.parse_args().keep
    begun = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="archive-demo-"))
    data = work / "archive"
    made = run("init", "--data", data, "--tenant", "demo")
    source = run(
        "source", "add", "--data", data, "--tenant", "demo", "--kind", "m365", "--name", "Microsoft 365"
    )
    say(
        "An archive and its first tenant",
        f"archive {made['archive']}",
        f"verifier key {made['verifier_key']}",
        f"secret recipient address {source['address']}",
    )
    process, where = start(data)
    say("The service", f"SMTP {where['smtp']}", f"HTTP http://{where['http']}", f"data {data}")
    try:
        tour(data, work, where, source)
        say(f"Done in {time.monotonic() - begun:.0f} s")
        if keep:
            print(f"   token {run('token', '--data', data, '--tenant', 'demo', '--role', 'legal')['token']}")
            print(f"   still up, until Ctrl-C; log {data / 'run' / 'serve.log'}")
            process.wait()
    except KeyboardInterrupt:
        print()
    finally:
        process.terminate()
        process.wait(90)
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
