"""From an answer's records, which are lines of a zone file, to the texts that they hold."""

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT

from archive_service.model.evidence import DnsAnswer


def texts(answer: DnsAnswer) -> list[bytes]:
    """Its TXT records, each with its strings joined (RFC 6376 section 3.6.2.2)."""
    found: list[bytes] = []
    for record in answer.records:
        _, _, rest = record.partition(" ")  # owner, TTL, class, type, data
        parts = rest.split(" ", 3)
        if len(parts) < 4 or parts[1:3] != ["IN", "TXT"]:
            continue
        try:
            data = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, parts[3])
        except dns.exception.DNSException:
            continue
        if isinstance(data, dns.rdtypes.ANY.TXT.TXT):
            found.append(b"".join(data.strings))
    return found
