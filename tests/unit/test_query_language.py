"""Query text to tree: precedence, values, positions of errors, limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import QueryError
from search.query_language import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_TERMS,
    And,
    Everything,
    Flag,
    Fuzzy,
    HasAttachment,
    Header,
    Near,
    Not,
    Or,
    Sent,
    Size,
    Text,
    Wildcard,
    parse,
    render,
)

A, B, C, D = Text("a"), Text("b"), Text("c"), Text("d")


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("*", Everything()),
        ("contrat", Text("contrat")),
        ("a b", And((A, B))),
        ("a AND b c", And((A, B, C))),
        ("a OR b c OR d", Or((A, And((B, C)), D))),
        ("a AND (b OR NOT c)", And((A, Or((B, Not(C)))))),
        ("NOT a b", And((Not(A), B))),
        ("-a", Not(A)),
        ("b -(a OR c)", And((B, Not(Or((A, C)))))),
        ('-"a b"', Not(Text("a b"))),
        ("rendez-vous", Text("rendez-vous")),
        ("a - b", And((A, B))),
        ("a -- b", And((A, B))),
        ("a 😀 b !", And((A, B))),
        ("and or not", And((Text("and"), Text("or"), Text("not")))),
        ("a NEAR/5 b c", And((Near(A, B, 5), C))),
        ("a near/5 b", Near(A, B, 5)),
        ("subject:(-a b)", And((Not(Text("a", "subject")), Text("b", "subject")))),
        ("bonjour !", Text("bonjour")),
        ("a PRE/2 (b OR c) OR d", Or((Near(A, Or((B, C)), 2, ordered=True), D))),
        ('"mot pour mot"', Text("mot pour mot")),
        ("« mot pour mot » “l’accord”", And((Text(" mot pour mot "), Text("l’accord")))),
        (r'"a \"b\" c:\\d"', Text(r'a "b" c:\d')),
        ("cont* *trat co?trat", And((Wildcard("cont*"), Wildcard("*trat"), Wildcard("co?trat")))),
        ("l'accor*", Wildcard("l'accor*")),
        ("contrta~1", Fuzzy("contrta", 1)),
        ("subject:facture", Text("facture", "subject")),
        ("Subject:(a OR b)", Or((Text("a", "subject"), Text("b", "subject")))),
        ("subject:AND", Text("AND", "subject")),
        ("subject:(a to:b)", And((Text("a", "subject"), Text("b", "to")))),
        ("from:anne@ex.fr", Text("anne@ex.fr", "from")),
        ("filename:*.xlsx", Wildcard("*.xlsx", "filename")),
        ('attachment:"bon de commande"', Text("bon de commande", "attachment")),
        ("header:X-Dept:achats", Header("X-Dept", "achats")),
        ("has:attachment", HasAttachment()),
        ("Flag:Draft -flag:dsn", And((Flag("draft"), Not(Flag("dsn"))))),
        ("sent:2024-01-01", Sent("2024-01-01", "2024-01-01")),
        ("sent:2024-01..2024-03", Sent("2024-01", "2024-03")),
        ("sent:..2024", Sent(None, "2024")),
        ("sent:2024..", Sent("2024", None)),
        ("size:>5MB", Size(5_000_001, None)),
        ("size:>=5MiB", Size(5 * 1024 * 1024, None)),
        ("size:<1.5ko", Size(None, 1499)),
        ("size:1KB..2KB", Size(1000, 2000)),
        ("12:30", Text("12:30")),
    ],
)
def test_query_parses_to_tree(query, tree):
    assert parse(query) == tree
    assert parse(render(tree)) == tree


@pytest.mark.parametrize(
    ("query", "position", "code"),
    [
        ("", 0, "query.empty"),
        ("  \t ", 0, "query.empty"),
        ("😀 !", 0, "query.empty"),
        ('a "b c', 2, "query.syntax"),
        ("a « b", 2, "query.syntax"),
        ("a (b", 2, "query.syntax"),
        ("a b)", 3, "query.syntax"),
        ("()", 1, "query.syntax"),
        ("a AND", 5, "query.syntax"),
        ("OR a", 0, "query.syntax"),
        ("a AND OR b", 6, "query.syntax"),
        ("NOT", 3, "query.syntax"),
        ("a AND 😀", 7, "query.syntax"),
        ("a foo:b", 2, "query.syntax"),
        ("a subject: b", 10, "query.syntax"),
        ("subject:😀", 8, "query.syntax"),
        ('"!"', 0, "query.syntax"),
        ('"a b"~5', 5, "query.syntax"),
        ("sent:2024-02-30", 5, "query.syntax"),
        ("sent:2024-13", 5, "query.syntax"),
        ("sent:0000", 5, "query.syntax"),
        ("sent:hier", 5, "query.syntax"),
        ("sent:2024..2023", 11, "query.syntax"),
        ("sent:2024..20x", 11, "query.syntax"),
        ("sent:..", 5, "query.syntax"),
        ("sent:(2024)", 5, "query.syntax"),
        ("size:5MB", 5, "query.syntax"),
        ("size:>5XB", 6, "query.syntax"),
        ("size:<0", 5, "query.syntax"),
        ("size:>99999999999GB", 6, "query.syntax"),
        ("size:2MB..1MB", 10, "query.syntax"),
        ("has:it", 4, "query.syntax"),
        ("flag:dr*ft", 5, "query.syntax"),
        ("flag:(draft OR dsn)", 5, "query.syntax"),
        ("header:X", 7, "query.syntax"),
        ("a NEAR b", 2, "query.syntax"),
        ("a NEAR/0 b", 2, "query.syntax"),
        ("a NEAR/1001 b", 2, "query.syntax"),
        ("a PRE/x b", 2, "query.syntax"),
        ("a || b", 2, "query.syntax"),
        ("a !b", 2, "query.syntax"),
        ("subject:-a", 8, "query.syntax"),
        ('subject:-"a"', 8, "query.syntax"),
        ("(a AND b) NEAR/2 c", 10, "query.syntax"),
        ("NOT a NEAR/2 c", 6, "query.syntax"),
        ("subject:a NEAR/2 body:c", 10, "query.syntax"),
        ("from:a NEAR/2 from:c", 7, "query.syntax"),
        ("a NEAR/2 b NEAR/3 c", 11, "query.unsupported"),
        ("contrta~", 7, "query.syntax"),
        ("contrta~3", 7, "query.syntax"),
        ("rendez-vuos~1", 0, "query.syntax"),
        ("b cont*~1", 2, "query.syntax"),
        ("b c*", 2, "query.too_broad"),
        ("?", 0, "query.too_broad"),
        ("**", 0, "query.too_broad"),
        ("l'a*", 0, "query.too_broad"),
        ("subject:*", 8, "query.too_broad"),
        ("filename:*x", 9, "query.too_broad"),
        ("foo-*-bar", 0, "query.unsupported"),
        ("日*本", 0, "query.unsupported"),
        ('"bon de command*"', 0, "query.unsupported"),
    ],
)
def test_error_names_its_position(query, position, code):
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert (caught.value.position, caught.value.code) == (position, code)


@pytest.mark.parametrize(
    ("fits", "too_much", "position"),
    [
        ("a" * MAX_CHARACTERS, "a" * (MAX_CHARACTERS + 1), MAX_CHARACTERS),
        (
            "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH,
            "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1),
            MAX_DEPTH,
        ),
        ("NOT " * MAX_DEPTH + "a", "NOT " * (MAX_DEPTH + 1) + "a", 4 * MAX_DEPTH),
        ("a " * MAX_TERMS, "a " * (MAX_TERMS + 1), 2 * MAX_TERMS),
        ("a*a*a*a*a " * 32 + "a*b*", "a*a*a*a*a " * 32 + "a*b*c*", 320),
        ("b a" + "*a" * 7 + "?", "b a" + "*a" * 8 + "?", 2),
        ("b filename:a" + "*a" * 8, "b filename:a" + "*a" * 9, 11),
    ],
    ids=[
        "characters",
        "parentheses",
        "nots",
        "terms",
        "wildcards of all words",
        "wildcards",
        "wildcards of a whole value",
    ],
)
def test_limits(fits, too_much, position):
    parse(fits)
    with pytest.raises(QueryError) as caught:
        parse(too_much)
    assert (caught.value.position, caught.value.code) == (position, "query.too_complex")


@pytest.mark.parametrize(
    ("first", "last", "bounds"),
    [
        ("1970-01-01", "1970-01-01", (0, 86_400)),
        ("2024-02", "2024-02", (1_706_745_600, 1_709_251_200)),
        ("1969", "1969", (-365 * 86_400, 0)),
        ("9999-12-31", "9999-12", (253_402_214_400, 253_402_300_800)),
        (None, "1970", (None, 365 * 86_400)),
        ("1970", None, (0, None)),
    ],
)
def test_dates_include_their_last_day(first, last, bounds):
    assert Sent(first, last).bounds() == bounds


_FRAGMENTS = st.sampled_from([
    "a", "é", "l'accord", "AND ", "OR ", "NOT ", "-", "(", ")", '"', "“", "”", "«", "»", "\\", "*", "?", "~1",
    "~2", "~", ":", " ", "NEAR/3 ", "PRE/2 ", "subject:", "from:", "header:", "filename:", "has:attachment",
    "sent:", "2024-02", "..", "size:", ">5MB", "日本", "😀", "cont", "\u0301", "\u00ad", "\ud800", "\x00", "ﷺ",
    "＊",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_FRAGMENTS, max_size=14).map("".join) | st.text(max_size=40))
def test_any_text_parses_or_is_refused_and_renders_to_the_same_tree(text):
    try:
        tree = parse(text)
    except QueryError as error:
        assert 0 <= error.position <= len(text)
        return
    assert parse(render(tree)) == tree


_FIELD = st.sampled_from([None, "subject", "body", "attachment", "filename"])
_LEAVES = st.one_of(
    st.builds(Text, st.text(max_size=12).map(lambda text: text.replace("*", "") + "x"), _FIELD),
    st.builds(Wildcard, st.sampled_from(["cont*", "*trat", "c?ntr*", "l'acc*"]), _FIELD),
    st.builds(Fuzzy, st.sampled_from(["contrat", "été"]), st.integers(1, 2), _FIELD),
    st.builds(Sent, st.just("2023"), st.sampled_from([None, "2024-01", "2023"])),
    st.builds(Size, st.integers(0, 9), st.integers(9, 99) | st.none()),
    st.builds(Header, st.just("X-A"), st.just('b "c"')),
    st.just(Everything()),
    st.just(HasAttachment()),
    st.builds(Flag, st.sampled_from(["draft", "no_message_id"])),
    st.builds(
        lambda n, o, f: Near(Text("a", f), Or((Text("b c", f), Text("d", f))), n, o),
        st.integers(1, 9),
        st.booleans(),
        _FIELD,
    ),
)


def _combined(parts):
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(And, several), st.builds(Or, several), st.builds(Not, parts))


@settings(max_examples=200, deadline=None)
@given(st.recursive(_LEAVES, _combined, max_leaves=8))
def test_every_tree_renders_to_text_that_parses_to_it(tree):
    assert parse(render(tree)) == tree


def test_many_words_that_begin_with_a_wildcard_are_too_complex() -> None:
    parse(" OR ".join(f"*ab{number}" for number in range(32)))
    with pytest.raises(QueryError) as raised:
        parse(" OR ".join(f"*ab{number}" for number in range(33)))
    assert raised.value.code == "query.too_complex"
