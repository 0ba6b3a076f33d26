"""Which rule takes a mail: the first by priority whose every condition holds."""

from collections.abc import Callable, Iterable, Sequence

from archive_service.model.schedule import Direction, Rule, Schedule
from retention.schedule.facts import Facts, fold, words

Custodians = Callable[[Facts], frozenset[str]]
"""The ids of the people who took part in a mail, by the directory as it was when the mail was sent."""


def rule_of(schedule: Schedule, facts: Facts, custodians: Custodians) -> Rule | None:
    """The rule that takes a mail; None: it is of the default class."""
    own = [domain.lower() for domain in schedule.domains]
    return next((rule for rule in schedule.in_order() if takes(rule, facts, custodians, own)), None)


def takes(rule: Rule, facts: Facts, custodians: Custodians, own: Sequence[str]) -> bool:
    """Whether every condition of a rule that is set holds. ``own``: the organisation's domains."""
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
