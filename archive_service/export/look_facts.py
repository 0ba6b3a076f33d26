"""What was seen of a capture after its receipt, as labelled lines for the report."""

from collections.abc import Iterator

from archive_service.export.evidence import LookProof
from archive_service.export.words import Words
from archive_service.model.evidence import DnsAnswer, Evidence, Malware, Origin, Signature

Line = tuple[str, str, bool]
"""Label, value, and whether it is set in the fixed-width face. Not cleaned yet: values quote mail and the DNS."""


def look_lines(look: LookProof, number: int, words: Words) -> Iterator[Line]:
    """Of one look at capture ``number``."""
    evidence = look.evidence
    yield words("capture_n", number=number), words(f"event_looked_{evidence.look.value}"), False
    yield words("time"), evidence.at[:19].replace("T", " "), False
    yield words("looked_by"), evidence.program, False
    if evidence.malware is not None:
        yield words("malware"), _malware(evidence.malware, words), False
    if evidence.origin is not None:
        yield from _origin(evidence.origin, words)
    yield from _dns(evidence, words)
    yield words("log_entry"), words("entry_at", log=look.log_origin, seq=look.index), False


def marked(names: list[str], words: Words) -> str:
    """The remark that warns of malware."""
    return words("malware_remark", names=", ".join(names))


def _malware(malware: Malware, words: Words) -> str:
    detail = malware.name or malware.reason
    said = words(f"malware_{malware.result}")
    return f"{said}: {detail}" if detail else said


def _origin(origin: Origin, words: Words) -> Iterator[Line]:
    if origin.unexamined is not None:
        yield "DKIM", words("unexamined", reason=origin.unexamined), False
        return
    if origin.line_ends == "made_crlf":
        yield words("line_ends"), words("made_crlf"), False
    for signature in origin.dkim:
        yield "DKIM", _signature(signature, words), False
    if not origin.dkim:
        yield "DKIM", words("no_signature"), False
    if origin.more_signatures:
        yield "DKIM", words("more_signatures", count=origin.more_signatures), False
    reason = f" ({origin.arc.reason})" if origin.arc.reason else ""
    yield "ARC", origin.arc.result + reason, False
    yield "SPF", words("spf_not_evaluated", domain=origin.spf.domain or words("none")), False
    for claim in origin.claims:
        yield words("claimed"), f"{claim.field}: {claim.value}", False


def _signature(signature: Signature, words: Words) -> str:
    parts: list[str] = [signature.result]
    if signature.reason:
        parts.append(signature.reason)
    parts.append(f"d={signature.domain or ''} s={signature.selector or ''} a={signature.algorithm or ''}")
    parts.append(words(f"aligned_{signature.aligned}"))
    if signature.body_limit is not None:
        parts.append(words("body_limit", count=signature.body_limit))
    return "; ".join(parts)


def _dns(evidence: Evidence, words: Words) -> Iterator[Line]:
    for answer in evidence.dns:
        yield "DNS", _answer(answer, words), False
        for record in answer.records:
            yield "", record, True


def _answer(answer: DnsAnswer, words: Words) -> str:
    validated = words("validated" if answer.authenticated else "not_validated")
    asked = f"{answer.name} {answer.type}: {answer.rcode}"
    return f"{asked}; {words('resolver')} {answer.resolver or words('none')}; {validated}; {answer.at}"
