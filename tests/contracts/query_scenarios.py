"""What queries find, as data: every index must give these answers.

``DOCUMENTS``: what stands in the index. ``SCENARIOS``: query -> ids found, in any order.
``REFUSED``: query -> code and position of the error.
"""

from dataclasses import replace

from search.indexes.base import IndexDocument

DAY = 86_400
_2024 = 1_704_067_200  # 2024-01-01T00:00:00Z


def document(name: str, rank: int = 0, **fields) -> IndexDocument:
    """A document with this id; what is not said is empty."""
    empty = IndexDocument(
        id=name, rank=rank, version=1, month="2024-01", sent=_2024, size=1000, subject="", sender="",
        to=(), cc=(), bcc=(), other_recipients=(), body="", attachments="", filenames=(),
    )  # fmt: skip
    return replace(empty, **fields)


DOCUMENTS = [
    document(
        "contrat",
        1,
        subject="Contrat d'été signé",
        sender="anne.durand@ex.fr",
        to=("bob@ex.fr", "carl@mail.ex.fr"),
        cc=("zoe@autre.org",),
        body="Le contrat secret porte la signature de l'accord-cadre. Œuvre à Besançon, 3,5 M€.",
        sent=_2024,
        size=5_000_001,
        filenames=("Rapport final_2024.XLSX", "bon.pdf"),
        attachments="Bon de commande numéro 12",
    ),
    document(
        "facture",
        2,
        subject="FACTURE publique",
        sender="bob@ex.fr",
        to=("anne@ex.fr",),
        bcc=("cachée@ex.fr",),
        body="Contrat public : la commande de bon matin. Signature plus bas, contact bob.martin@exemple.fr.",
        sent=_2024 - 1,
        size=5_000_000,
    ),
    document(
        "courbet",
        3,
        subject="Rendez-vous Straße ﬁn",
        sender="anne@autre.org",
        other_recipients=("bob@ex.fr",),
        body="secret contrat; mot pour mot. Un contrat, puis deux, trois, quatre, signature.",
        sent=_2024 + DAY - 1,
        not_fully_indexed=True,
    ),
    document(
        "langues",
        4,
        subject="日本語テスト 한국어",
        sender="ex.fr@piege.com",
        to=("x@ex.fr.piege.com",),
        body="東京都に行きます。 السَّلَامُ عليكم مرحبا. שָׁלוֹם עולם. ΣΊΣΥΦΟΣ Ёлка ISPARTA ısı İstanbul कार्य नमस्ते สวัสดี",
        sent=_2024 + DAY,
    ),
    document(
        "signes",
        5,
        subject="bravo 🎉 merci 👍🏽",
        body="con\u00adtrat\u00e9 caf\u0065\u0301 Excel™ H₂O m² snake_case &lt;b&gt; "
        "<script>alert(1)</script> aujourd’hui",
        sent=_2024 + 31 * DAY,
        sender="o'neil+test@ex.fr",
    ),
    document("avant1970", 6, body="vieux courrier", sent=-1, filenames=("",)),
    document("vide", 7, sent=253_402_300_799, flags=("draft", "no_message_id")),
]

ALL = {one.id for one in DOCUMENTS}

SCENARIOS: list[tuple[str, set[str]]] = [
    ("*", ALL),
    ("NOT *", set()),
    # case, accents, ligatures, invisible characters
    ("contrat", {"contrat", "facture", "courbet"}),
    ("CONTRAT", {"contrat", "facture", "courbet"}),
    ("été", {"contrat"}),
    ("ETE", {"contrat"}),
    ("ete\u0301", {"contrat"}),
    ("oeuvre", {"contrat"}),
    ("œuvre", {"contrat"}),
    ("besancon", {"contrat"}),
    ("strasse", {"courbet"}),
    ("STRASSE fin", {"courbet"}),
    ("contraté", {"signes"}),
    ("café", {"signes"}),
    ("excel", {"signes"}),
    ("h2o m2", {"signes"}),
    ("istanbul isparta ısi", {"langues"}),
    ("σίσυφος", {"langues"}),
    ("елка", {"langues"}),
    ("snake", {"signes"}),
    # no stemming
    ("contrats", set()),
    ("commandes", set()),
    # words beside each other
    ("l'accord", {"contrat"}),
    ("l’accord", {"contrat"}),
    ("d'été", {"contrat"}),
    ("accord-cadre", {"contrat"}),
    ("aujourd'hui", {"signes"}),
    ("rendez-vous", {"courbet"}),
    ("rendez vous", {"courbet"}),
    ("vous-rendez", set()),
    ("3,5", {"contrat"}),
    ("5,3", set()),
    ("bob.martin@exemple.fr", {"facture"}),
    ("martin", {"facture"}),
    # phrases, within one field
    ('"mot pour mot"', {"courbet"}),
    ('"mot mot"', set()),
    ('"secret contrat"', {"courbet"}),
    ('"contrat secret"', {"contrat"}),
    ('"bon de commande"', {"contrat"}),
    ('"d\'été signé le"', set()),
    ('"bravo merci"', {"signes"}),
    ('"bravo 🎉 merci"', {"signes"}),
    ("signé secret", {"contrat"}),
    # operators
    ("contrat secret", {"contrat", "courbet"}),
    ("contrat AND secret", {"contrat", "courbet"}),
    ("contrat AND (secret OR NOT public)", {"contrat", "courbet"}),
    ("facture OR contrat secret", {"contrat", "facture", "courbet"}),
    ("(facture OR contrat) secret", {"contrat", "courbet"}),
    ("NOT contrat", {"langues", "signes", "avant1970", "vide"}),
    ("-contrat", {"langues", "signes", "avant1970", "vide"}),
    ("contrat -secret", {"facture"}),
    ('contrat -"secret contrat"', {"contrat", "facture"}),
    ("NOT contrat NOT bravo", {"langues", "avant1970", "vide"}),
    ("NOT (contrat OR bravo)", {"langues", "avant1970", "vide"}),
    ("bravo OR NOT contrat", {"langues", "signes", "avant1970", "vide"}),
    ("NOT NOT bravo", {"signes"}),
    ("contrat 🎉", {"contrat", "facture", "courbet"}),
    # fields
    ("subject:contrat", {"contrat"}),
    ("subject:(facture OR bravo)", {"facture", "signes"}),
    ("body:contrat", {"contrat", "facture", "courbet"}),
    ("body:facture", set()),
    ('attachment:"bon de commande"', {"contrat"}),
    ("attachment:secret", set()),
    ("subject:été body:œuvre", {"contrat"}),
    # addresses
    ("from:anne@ex.fr", set()),
    ("from:anne.durand@ex.fr", {"contrat"}),
    ("from:Anne.Durand@EX.FR", {"contrat"}),
    ("to:anne@ex.fr", {"facture"}),
    ("to:nne@ex.fr", set()),
    ("to:ex.fr", {"contrat", "facture"}),
    ("to:@ex.fr", {"contrat", "facture"}),
    ("from:ex.fr", {"contrat", "facture", "signes", "langues"}),  # a local part may read so, too
    ("from:@ex.fr", {"contrat", "facture", "signes"}),
    ("to:mail.ex.fr", {"contrat"}),
    ("to:fr.piege", set()),
    ("cc:zoe", {"contrat"}),
    ("to:zoe", set()),
    ("bcc:cachée@ex.fr", {"facture"}),
    ("bcc:cachee@ex.fr", set()),
    ("bcc:cachee", {"facture"}),
    ("from:durand", {"contrat"}),
    ("from:anne.durand", {"contrat"}),
    ("from:o'neil+test@ex.fr", {"signes"}),
    ("from:neil", {"signes"}),
    ("to:bob", {"contrat"}),
    ("participants:bob", {"contrat", "facture", "courbet"}),
    ("participants:bob@ex.fr", {"contrat", "facture", "courbet"}),
    ("participants:autre.org", {"contrat", "courbet"}),
    ("participants:martin", set()),
    ("from:anne*", {"contrat", "courbet"}),
    ("to:*.ex.fr", {"contrat"}),
    ("to:b?b@ex.fr", {"contrat"}),
    ("from:(anne.durand@ex.fr OR bob@ex.fr)", {"contrat", "facture"}),
    ("anne", set()),  # a bare word does not search addresses
    # dates, in UTC
    ("sent:2024-01-01", {"contrat", "courbet"}),
    ("sent:2023-12-31", {"facture"}),
    ("sent:2023", {"facture"}),
    ("sent:2024-01", {"contrat", "courbet", "langues"}),
    ("sent:2024-01-02..2024-02-01", {"langues", "signes"}),
    ("sent:2023-12..2024-01-01", {"contrat", "facture", "courbet"}),
    ("sent:..1969", {"avant1970"}),
    ("sent:9999-12-31..", {"vide"}),
    ("sent:2024-02..", {"signes", "vide"}),
    # size
    ("size:>5MB", {"contrat"}),
    ("size:>=5MB", {"contrat", "facture"}),
    ("size:<5MB", ALL - {"contrat", "facture"}),
    ("size:<=5000KB", ALL - {"contrat"}),
    ("size:1KB..5MB", ALL - {"contrat"}),
    # marks
    ("flag:draft", {"vide"}),
    ("flag:DRAFT", {"vide"}),
    ("* NOT flag:draft", ALL - {"vide"}),
    ("-flag:no_message_id", ALL - {"vide"}),
    ("flag:encrypted_smime", set()),
    ("flag:message", set()),  # a mark is whole
    ("draft", set()),  # and no word of the message
    # attachments
    ("has:attachment", {"contrat", "avant1970"}),
    ("NOT has:attachment", ALL - {"contrat", "avant1970"}),
    ("filename:*.xlsx", {"contrat"}),
    ("filename:rapport", {"contrat"}),
    ("filename:rapport*", {"contrat"}),
    ("filename:fin*", {"contrat"}),
    ('filename:"rapport final"', {"contrat"}),
    ("filename:bon.pdf", {"contrat"}),
    ("filename:xlsx.bon", set()),
    ("filename:*.xls", set()),
    ("filename:b?n.pdf", {"contrat"}),
    ("2024", {"contrat"}),
    ("xlsx", {"contrat"}),
    # wildcards
    ("contr*", {"contrat", "facture", "courbet", "signes"}),
    ("*trat", {"contrat", "facture", "courbet"}),
    ("co?trat", {"contrat", "facture", "courbet"}),
    ("contrat?", {"signes"}),
    ("con*t", {"contrat", "facture", "courbet"}),
    ("CONTR*", {"contrat", "facture", "courbet", "signes"}),
    ("ét*", {"contrat"}),
    ("l'accor*", {"contrat"}),
    ("l'accor*-cadre", {"contrat"}),
    ("d'accor*", set()),
    ("subject:contr*", {"contrat"}),
    ("東京*", {"langues"}),
    # fuzzy: a swap of neighbours counts one
    ("contrta~1", {"contrat", "facture", "courbet"}),
    ("contart~1", {"contrat", "facture", "courbet"}),
    ("contrat~1", {"contrat", "facture", "courbet", "signes"}),
    ("conrtta~1", set()),
    ("conrtta~2", {"contrat", "facture", "courbet"}),
    ("subject:factrue~1", {"facture"}),
    ("étè~1", {"contrat"}),
    # nearness
    ("contrat NEAR/1 secret", {"contrat", "courbet"}),
    ("contrat PRE/1 secret", {"contrat"}),
    ("secret PRE/1 contrat", {"courbet"}),
    ("contrat NEAR/5 signature", {"contrat", "courbet"}),
    ("contrat NEAR/4 signature", {"contrat"}),
    ("signature PRE/3 contrat", set()),
    ("signature NEAR/8 contrat", {"contrat", "facture", "courbet"}),
    ("contrat NEAR/4 contrat", set()),
    ("contrat PRE/5 contrat", {"courbet"}),
    ("contrat NEAR/5 contrat", {"courbet"}),
    ('contrat PRE/5 "l\'accord cadre"', set()),
    ('contrat PRE/6 "l\'accord cadre"', {"contrat"}),
    ('"l\'accord cadre" NEAR/6 contrat', {"contrat"}),
    ("contr* NEAR/1 (secret OR publi*)", {"contrat", "facture", "courbet"}),
    ("bon PRE/1 commande", set()),
    ("bon PRE/2 commande", {"contrat"}),
    ("final PRE/9 bon", set()),  # two file names
    ("subject:(facture NEAR/1 publique)", {"facture"}),
    # scripts
    ("日本語", {"langues"}),
    ("本語", {"langues"}),
    ("語本", set()),
    ("東京", {"langues"}),
    ("京都", {"langues"}),
    ("ﾃｽﾄ", {"langues"}),
    ("한국", {"langues"}),
    ("السلام", {"langues"}),
    ("عليكم مرحبا", {"langues"}),
    ("שלום", {"langues"}),
    ("नमस्ते", {"langues"}),
    ("สวัสดี", {"langues"}),
]

REFUSED: list[tuple[str, str, int]] = [
    ("a header:X-Dept:achats", "query.unsupported", 16),
    ("contrat AND (contrta~1 NEAR/2 secret)", "query.unsupported", 23),
    ('"a b c" NEAR/1000 ("d e" OR f)', "query.too_complex", 8),
    ('"a b" NEAR/300 "d e" OR "a b" NEAR/300 "f g"', "query.too_complex", 30),
]
