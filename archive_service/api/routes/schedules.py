"""``/v1/schedules``: how long mail is kept, and why; a new version is tried first, and set under two people."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from archive_service.access.policy import Right
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.views import Asked, Words

router = APIRouter(route_class=GuardedRoute, tags=["retention"])

_TELLING = ("words", "headers", "subject", "custodians", "domains", "attachments")


class TrialAsked(Asked):
    """``schedule``: {classes, rules, default, domains}, as docs/retention.md describes it."""

    schedule: dict[str, Any]


class ScheduleAsked(TrialAsked):
    """``effective_from``: RFC 3339, not in the past; at once when not given."""

    effective_from: Words | None = None
    reason: Words


class ScheduleList(BaseModel):
    """Newest first; ``in_force`` says which version decides now. ``templates``: classes to begin with."""

    schedules: list[dict[str, Any]]
    templates: list[dict[str, Any]]
    next: str | None = None


class Trial(BaseModel):
    """What a schedule would do to what is archived now. ``rules``: how many captures each takes, of which kinds of
    sources, the default as the rule null; ``moves``: captures whose class would be another;
    ``kept_longer`` and ``kept_shorter``: whose end would be, ``minimum_longer`` and ``minimum_shorter``: whose legal
    minimum would be, against the version in force (``compared_with``);
    ``past_maximum``: which would be past their end at once; ``by_hand``: whose class a
    reviewer has set, so that no rule takes them; ``undecided``: whose text decides and is not known, counted where they
    would be kept longest (words are looked up in the search index; header fields are in none)."""

    captures: int
    rules: list[dict[str, Any]]
    compared_with: int | None
    moves: list[dict[str, Any]]
    kept_longer: int
    kept_shorter: int
    minimum_longer: int
    minimum_shorter: int
    past_maximum: int
    by_hand: int
    undecided: int


@router.get("/v1/schedules", openapi_extra=needs(Right.SCHEDULES, "schedule.list"))
def list_schedules(caller: CallerDep) -> ScheduleList:
    """Every version there was."""
    found = list(caller.tenant.schedules.versions())
    caller.record(schedules=len(found))
    return ScheduleList(schedules=found, templates=list(caller.tenant.schedules.templates()))


@router.post("/v1/schedules", status_code=202, openapi_extra=needs(Right.SCHEDULES_CHANGE, "schedule.ask"))
def ask(asked: ScheduleAsked, caller: CallerDep) -> ApprovalView:
    """Ask for a new schedule; another person approves it (``/v1/approvals``)."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason"})
    made = desk.ask(caller.actor, "schedule.set", given, asked.reason, caller.once("p"))
    caller.record(approval=made.id, asked_for="schedule.set")
    return approval_view(desk, made)


@router.post("/v1/schedules/dry-run", openapi_extra=needs(Right.SCHEDULES, "schedule.try"))
def dry_run(asked: TrialAsked, caller: CallerDep) -> Trial:
    """What a schedule would take, and how that differs from the one in force. Changes nothing. What it asks of texts
    and people is recorded: its counts tell whether there is such mail."""
    found = caller.tenant.schedules.dry_run(asked.schedule)
    caller.record(captures=found["captures"], asked_of_mail=_asked_of_mail(asked.schedule))
    return Trial(**found)


def _asked_of_mail(schedule: dict[str, Any]) -> list[dict[str, list[str]]]:
    """Of a schedule that was found valid."""
    rules: list[dict[str, Any]] = schedule.get("rules", [])
    asked = [{name: list(rule[name]) for name in _TELLING if rule.get(name)} for rule in rules]
    return [each for each in asked if each]
