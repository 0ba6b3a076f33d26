"""Classes to begin with: what a text of law asks for, and where it can be read. They are copied into a schedule and
changed there; whether a text is for an organisation, and for which of its mail, its counsel says, not this file."""

from archive_service.model.schedule import RetentionClass, Start

TEMPLATES: tuple[RetentionClass, ...] = (
    RetentionClass(
        id="accounting-fr",
        name="Accounting documents and their vouchers (France)",
        basis="Accounting documents and supporting documents are kept for ten years from the end of the financial "
        "year; commercial correspondence is among them where it supports an entry.",
        article="Code de commerce, article L123-22",
        read_at="https://www.legifrance.gouv.fr/codes/id/LEGITEXT000005634379",
        start=Start.FINANCIAL_YEAR,
        year_ends="12-31",
        year_offset="+01:00",
        minimum="P10Y",
        maximum="P10Y",
        lock="COMPLIANCE",
    ),
    RetentionClass(
        id="commercial-fr",
        name="Commercial correspondence, for the time in which claims arise from it (France)",
        basis="Obligations between traders, and between them and others, lapse after five years. A limitation period "
        "and no duty to keep: no minimum.",
        article="Code de commerce, article L110-4",
        read_at="https://www.legifrance.gouv.fr/codes/id/LEGITEXT000005634379",
        start=Start.SENT,
        maximum="P5Y",
    ),
    RetentionClass(
        id="tax-fr",
        name="Documents that the tax administration may ask for (France)",
        basis="Books, documents and vouchers that the administration may ask to see are kept for six years from the "
        "last operation that they name, or from the day they were made.",
        article="Livre des procédures fiscales, article L102 B",
        read_at="https://www.legifrance.gouv.fr/codes/article_lc/LEGIARTI000053189496",
        start=Start.SENT,
        minimum="P6Y",
        maximum="P6Y",
        lock="COMPLIANCE",
    ),
    RetentionClass(
        id="mifid",
        name="Communications about client orders and own-account dealing (investment firms, EU)",
        basis="Records of electronic communications that relate to client orders or dealing on own account are kept "
        "for five years, and for up to seven where the authority asks.",
        article="Directive 2014/65/EU (MiFID II), article 16(7)",
        read_at="https://eur-lex.europa.eu/eli/dir/2014/65/oj",
        start=Start.SENT,
        minimum="P5Y",
        maximum="P7Y",
        lock="COMPLIANCE",
    ),
    RetentionClass(
        id="sec-17a-4",
        name="Communications about the business as such (broker-dealers, USA)",
        basis="Originals of communications received and copies of those sent that relate to the business as such are "
        "kept for three years, the first two in an easily accessible place.",
        article="17 CFR 240.17a-4(b)(4)",
        read_at="https://www.ecfr.gov/current/title-17/section-240.17a-4",
        start=Start.SENT,
        minimum="P3Y",
        maximum="P3Y",
        lock="COMPLIANCE",
    ),
    RetentionClass(
        id="finra-4511",
        name="Books and records for which no other period is named (FINRA members, USA)",
        basis="Where no rule names a period, books and records are kept for six years.",
        article="FINRA Rule 4511(b)",
        read_at="https://www.finra.org/rules-guidance/rulebooks/finra-rules/4511",
        start=Start.SENT,
        minimum="P6Y",
        maximum="P6Y",
        lock="COMPLIANCE",
    ),
    RetentionClass(
        id="gobd",
        name="Commercial and business letters (Germany)",
        basis="Commercial and business letters received, and copies of those sent, are kept for six years from the "
        "end of the calendar year, in the form in which they came, unalterable and readable by machine.",
        article="Abgabenordnung § 147(1) no. 2 and 3, (3), (4); GoBD",
        read_at="https://www.gesetze-im-internet.de/ao_1977/__147.html",
        start=Start.FINANCIAL_YEAR,
        year_ends="12-31",
        year_offset="+01:00",
        minimum="P6Y",
        maximum="P6Y",
        lock="COMPLIANCE",
    ),
    RetentionClass(
        id="ordinary",
        name="Ordinary mail",
        basis="Mail that no text asks to be kept, for as long as it is of use at work and no longer.",
        article="GDPR, article 5(1)(e)",
        read_at="https://eur-lex.europa.eu/eli/reg/2016/679/oj",
        start=Start.CAPTURE,
        maximum="P1Y",
    ),
)
