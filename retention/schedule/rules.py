"""Which rule takes a mail: the first by priority whose every condition holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from archive_service.model.schedule import Direction, Rule, Schedule, TextCondition, fold, words
from retention.schedule.facts import Facts

Custodians = Callable[[Facts], frozenset[str]]
"""The ids of the people who took part in a mail, by the directory as it was when the mail was sent."""


def rules_of(schedule: Schedule, facts: Facts, custodians: Custodians) -> tuple[Rule | None, ...]:
    """The rule that takes a mail; None: it is of the default class. More than one where the mail's text, which is not
    known or cannot be told, decides between them."""
    found: list[Rule | None] = []
    for rule, verdict in _asked(schedule, facts, custodians):
        found.append(rule)
        if verdict:
            return tuple(found)
    return (*found, None)


def unread_of(schedule: Schedule, facts: Facts, custodians: Custodians) -> frozenset[TextCondition]:
    """What the mail must be read for: the conditions on its text that decide, and that nobody has looked for."""
    return frozenset(
        condition
        for rule, verdict in _asked(schedule, facts, custodians)
        if verdict is None
        for group in rule.texts()
        for condition in group
        if condition.key not in facts.marks
    )


def _asked(
    schedule: Schedule, facts: Facts, custodians: Custodians
) -> Iterator[tuple[Rule, Literal[True] | None]]:
    """The rules that take a mail, or, None, may do, up to the first that does."""
    own = [domain.lower() for domain in schedule.domains]
    for rule in schedule.in_order():
        if not takes(rule, facts, custodians, own):
            continue
        verdict = _by_text(rule, facts)
        if verdict is not False:
            yield rule, verdict
        if verdict:
            return


def _by_text(rule: Rule, facts: Facts) -> bool | None:
    """What the mail's own text says of a rule; None: that is not known."""
    verdict: bool | None = True
    for group in rule.texts():
        said = {facts.marks.get(condition.key) for condition in group}
        if True in said:
            continue
        if None not in said:
            return False
        verdict = None
    return verdict


def takes(rule: Rule, facts: Facts, custodians: Custodians, own: Sequence[str]) -> bool:
    """Whether every condition of a rule that is set holds, but those on the mail's text. ``own``: the organisation's
    domains."""
    return (
        (not rule.sources or facts.source in rule.sources)
        and (rule.larger is None or facts.size > rule.larger)
        and (rule.smaller is None or facts.size < rule.smaller)
        and (not rule.labels or (facts.label is not None and fold(facts.label) in map(fold, rule.labels)))
        and (not rule.flags or not facts.flags.isdisjoint(rule.flags))
        and (not rule.domains or any(_within(each, rule.domains) for each in facts.parties))
        and (rule.direction is None or rule.direction in directions(facts, own))
        and (not rule.subject or any(_all_words(text, facts.subject) for text in rule.subject))
        and (not rule.attachments or any(_attached(kind, facts) for kind in rule.attachments))
        and (not rule.custodians or not custodians(facts).isdisjoint(rule.custodians))
    )


def directions(facts: Facts, own: Sequence[str]) -> set[Direction]:
    """From outside in, from inside out, between own addresses. A mail from inside to both sides is outbound."""
    if facts.sender is None or not facts.recipients:
        return set()
    inside = [_within(each, own) for each in facts.recipients]
    if not _within(facts.sender, own):
        return {Direction.INBOUND} if any(inside) else set()
    return {Direction.INTERNAL} if all(inside) else {Direction.OUTBOUND}


def _within(address: str, domains: Iterable[str]) -> bool:
    domain = address.rpartition("@")[2]
    return any(domain == each or domain.endswith(f".{each}") for each in map(str.lower, domains))


def _all_words(text: str, subject: frozenset[str]) -> bool:
    wanted = words(text)
    return bool(wanted) and subject.issuperset(wanted)


def _attached(kind: str, facts: Facts) -> bool:
    wanted = fold(kind)
    if wanted.startswith("."):
        return any(name.endswith(wanted) for _, name in facts.attachments)
    if wanted.endswith("/*"):
        return any(content.startswith(wanted[:-1]) for content, _ in facts.attachments)
    return any(content == wanted for content, _ in facts.attachments)
