"""What the index gets to read, and the honest account of what it does not."""

import base64
import re

from archive_service.model.mail import CaptureRecord, SourceKind, Text
from ingest.extraction import extract_text
from ingest.interpret import interpret

RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)


def text_of(mail: str | bytes, *, limit: int = 1000) -> Text:
    raw = mail if isinstance(mail, bytes) else mail.encode("utf-8")
    return extract_text(raw, interpret(raw, SourceKind.GENERIC, RECORD), limit=limit)


def mixed(*parts: str, kind: str = "mixed") -> str:
    body = "".join(f"--B\n{part}\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary=B\n\n{body}--B--\n"


PLAIN = "Content-Type: text/plain; charset=utf-8\n\nBonjour, le contrat est signé."
HTML = "Content-Type: text/html; charset=utf-8\n\n<p>Bonjour, le <b>con</b>trat est sign&eacute;.</p>"


def test_an_alternative_is_read_once() -> None:
    assert text_of(mixed(PLAIN, HTML, kind="alternative")).body == "Bonjour, le contrat est signé."


def test_an_alternative_that_says_more_is_read_too() -> None:
    """A plain part that only asks for another reader must not hide the message from a search."""
    found = text_of(mixed("Content-Type: text/plain\n\nUse another reader.", HTML, kind="alternative"))
    assert found.body == "Use another reader.\nBonjour, le contrat est signé."


def test_the_same_words_in_another_order_are_read_too() -> None:
    salad = "Content-Type: text/plain\n\nat bribe lunch noon not pay the to us you want see"
    html = "Content-Type: text/html\n\n<p>Pay the bribe to us at noon</p>"
    found = text_of(mixed(salad, html, kind="alternative"))
    assert found.body.endswith("see\nPay the bribe to us at noon")
    around = "Content-Type: text/plain\n\nPlease pay *the*\nbribe to us, at noon."
    assert text_of(mixed(around, html, kind="alternative")).html_from is None
    part = "Content-Type: text/plain\n\nPay the bribe to us at noontide."
    assert text_of(mixed(part, html, kind="alternative")).html_from is not None


def html_body(html: str) -> str:
    return text_of("Content-Type: text/html; charset=utf-8\n\n" + html, limit=100_000).body


def test_what_some_readers_show_is_read() -> None:
    assert html_body("<p>a</p><noscript>pay</noscript><template>now</template>") == "a\npay\nnow"
    assert html_body("<head><noscript>pay</noscript></head>a").split() == ["pay", "a"]
    assert (
        html_body('<p>a<img alt="the &eacute;"><a title=b>c</a><img alt="the &eacute;">d')
        == "a\nc\nd\nthe é\nb"
    )
    assert html_body("<p>a</p><!-- no --><script>no</script><style>no</style>") == "a"


def test_conditional_comments_are_read() -> None:
    assert html_body("<p>a</p><!--[if mso]><p>pay <b>t</b>he</p><![endif]--><p>b</p>") == "a\nb\npay the"
    assert html_body("<!--[if !mso]><!--><p>a</p><!--<![endif]-->b") == "a\nb"
    settings = "<xml><o:AllowPNG/><o:PixelsPerInch>96</o:PixelsPerInch></xml>"
    assert html_body(f"<!--[if gte mso 9]>{settings}<![endif]-->a") == "a"
    assert html_body("<!--[if mso]><style><![endif]--><p>seen</p><!--[IF mso]><i alt=x>b") == "seen\nb\nx"
    assert html_body("<!--[if a]><b>c--> " * 600).count("c") == 600


def test_too_many_attributes_hide_nothing() -> None:
    many = " ".join(f'a{n}=">"' for n in range(300))
    found = html_body(f'<p>before</p><a {many} alt="said">inside</a> after <i title="&amp; more">')
    assert {"before", "inside", "after", "said", "more"} <= set(re.findall(r"\w+", found))
    few = " ".join(f"a{n}=1" for n in range(100))
    assert html_body(f"<p>be<b {few}>fore</b></p>" * 3) == "before\nbefore\nbefore"


def test_html_alone() -> None:
    assert text_of(HTML).body == "Bonjour, le contrat est signé."


def test_html_declares_its_charset() -> None:
    mail = b"Content-Type: text/html\n\n<meta charset=windows-1251><p>" + "Привет".encode("cp1251")
    assert text_of(mail).body == "Привет"


def test_attached_texts_are_attachments() -> None:
    csv = "Content-Type: text/csv; name=a.csv\nContent-Disposition: attachment\n\nréférence;815"
    unsaid = "Content-Type: application/octet-stream; name=notes.TXT\nContent-Transfer-Encoding: base64\n\n"
    unsaid += base64.b64encode(b"remarque").decode()
    found = text_of(mixed(PLAIN, csv, unsaid))
    assert found.body == "Bonjour, le contrat est signé."
    assert found.attachments == "référence;815\nremarque"
    assert found.not_fully_indexed is None


def test_attached_messages_are_read_with_their_headers() -> None:
    inner = "Subject: =?utf-8?q?Re=C3=A7u?=\nFrom: Ann <ann@example.com>\n\nLe colis part."
    found = text_of(mixed(PLAIN, f"Content-Type: message/rfc822\n\n{inner}"))
    assert found.body == "Bonjour, le contrat est signé."
    assert found.attachments == "Reçu\nAnn <ann@example.com>\nLe colis part."
    encoded = base64.b64encode(inner.encode()).decode()
    wrapped = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{encoded}"
    assert text_of(mixed(PLAIN, wrapped)).attachments == found.attachments


def test_a_calendar_is_text() -> None:
    part = "Content-Type: text/calendar; charset=utf-8\n\nBEGIN:VEVENT\nSUMMARY:Point liv\n raison\\, quai\nEND:VEVENT"
    assert "SUMMARY:Point livraison, quai" in text_of(mixed(PLAIN, part)).attachments


def test_delivery_status_is_part_of_the_body() -> None:
    found = text_of(mixed(PLAIN, "Content-Type: message/delivery-status\n\nAction: failed", kind="report"))
    assert found.body.endswith("Action: failed")


def test_what_is_not_read_is_named() -> None:
    pdf = "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment\n\n%PDF"
    scanned = "Content-Type: image/tiff\nContent-Disposition: attachment; filename=fax.tif\n\nII"
    found = text_of(mixed(PLAIN, pdf, scanned))
    assert found.not_fully_indexed == "attachment kinds not extracted: application/pdf, image/tiff"


def test_logos_and_signatures_are_no_gap() -> None:
    logo = "Content-Type: image/png; name=logo.png\nContent-ID: <l>\nContent-Disposition: inline\n\nx"
    signature = (
        "Content-Type: application/pkcs7-signature; name=smime.p7s\nContent-Disposition: attachment\n\nx"
    )
    assert text_of(mixed(PLAIN, logo, signature)).not_fully_indexed is None


def test_text_is_cut_at_the_limit_and_says_so() -> None:
    found = text_of("Content-Type: text/plain\n\n" + "mot " * 100, limit=40)
    assert found.body == "mot " * 10
    assert found.not_fully_indexed == "text truncated at 40 characters"
    found = text_of(mixed(PLAIN, PLAIN), limit=30)
    assert found.not_fully_indexed == "text truncated at 30 characters"


def test_nothing_to_read() -> None:
    assert text_of("Subject: x\n\n") == Text()
