"""``/v1/orders``: orders of a court or authority, to keep or to erase: placed and ended by two people, documented,
certified."""

import re
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field, model_validator

from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs, well_formed
from archive_service.api.paper_response import Format, signed_response
from archive_service.api.routes.approvals import ApprovalView, approval_view
from archive_service.api.routes.holds import Day, Listed
from archive_service.api.views import Asked, QueryText, Words
from archive_service.export.certificate_pdf import certificate_pdf
from archive_service.orders.asking import END, PLACE

router = APIRouter(route_class=GuardedRoute, tags=["orders"])

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class DocumentGiven(Asked):
    """The order on paper. ``content``: base64 of 4 MiB at most."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    type: Annotated[str, Field(pattern=r"^[\w.+-]{1,60}/[\w.+-]{1,60}$")]
    content: Annotated[str, Field(min_length=4, max_length=5_592_408)]


class OrderAsked(Asked):
    """``kind``: keep or erase. ``dated``: its day; ``text``: what is ordered. What it covers is said as a hold says it.
    One to keep goes on finding; of one to erase the list is made now, and the second person decides over that."""

    kind: Literal["keep", "erase"]
    issuer: Words
    reference: Words
    dated: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    document: DocumentGiven | None = None
    past: bool = True
    future: bool = True
    query: QueryText | None = None
    custodians: Annotated[list[Words], Field(min_length=1, max_length=1000)] | None = None
    groups: bool = False
    first: Day | None = None
    last: Day | None = None
    messages: Listed | None = None
    captures: Listed | None = None
    reason: Words

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if not (self.query or self.custodians or self.messages or self.captures):
            raise ValueError("an order names a query, custodians, messages or captures")
        return self


class EndAsked(Asked):
    """Why it may end."""

    reason: Words


class DocumentView(BaseModel):
    """The order on paper, by its digest; ``size`` in bytes."""

    id: str
    name: str
    type: str
    size: int
    sha256: str


class OrderView(BaseModel):
    """``state``: of one to keep in_force, releasing (objects still bear it), released; of one to erase in_force, going,
    done, stopped (nothing went). ``captures``: what it covers, or has erased; ``left``: what an ended one to erase did
    not take. ``contradicts``: orders in force that say the opposite of something; that is kept, and shown to nobody.
    ``progress``: of one to keep as of a hold; else ``keys_gone``, since when no backup opens any of it, and when the
    last object was deleted: a lock of the store may keep its ciphertext longer."""

    id: str
    kind: str
    state: str
    issuer: str
    reference: str
    dated: str
    text: str
    document: DocumentView | None
    covers: dict[str, Any]
    captures: int
    left: int = 0
    contradicts: list[str]
    progress: dict[str, Any]
    placed_by: str
    placed_at: str
    approval: str
    ended_at: str | None
    ended_by: str | None
    end_approval: str | None


class OrderList(BaseModel):
    """Newest first, ended ones too."""

    orders: list[OrderView]
    next: str | None = None


@router.post("/v1/orders", status_code=202, openapi_extra=needs(Right.ORDERS_CHANGE, "order.ask"))
def ask(asked: OrderAsked, caller: CallerDep) -> ApprovalView:
    """Ask that it be placed; another person decides (``/v1/approvals``), and from then on it stands above all else."""
    desk = caller.tenant.four_eyes
    given = asked.model_dump(mode="json", exclude_none=True, exclude={"reason", "document"})
    if asked.document is not None:
        given["document"] = caller.tenant.orders.attach(caller.actor, asked.document.model_dump())
    made = desk.ask(caller.actor, PLACE, given, asked.reason, caller.once("p"))
    named = [*(asked.messages or ()), *(asked.captures or ())]
    caller.record(named, approval=made.id, asked_for=PLACE, kind=asked.kind)
    return approval_view(desk, made)


@router.get("/v1/orders", openapi_extra=needs(Right.ORDERS, "order.list"))
def list_orders(caller: CallerDep) -> OrderList:
    """Every order, and how far it is."""
    found = caller.tenant.orders.all()
    caller.record(orders=len(found))
    return OrderList(orders=[OrderView(**each) for each in found])


@router.get("/v1/orders/{id}", openapi_extra=needs(Right.ORDERS, "order.view"))
def view(id: str, caller: CallerDep) -> OrderView:
    """One order."""
    found = caller.tenant.orders.get(_id(id))
    caller.record(order=id)
    return OrderView(**found)


@router.get(
    "/v1/orders/{id}/document", openapi_extra=needs(Right.ORDERS, "order.document"), response_class=Response
)
def document(id: str, caller: CallerDep) -> Response:
    """The order on paper, byte for byte as it was attached: always a download, never shown as a page."""
    found, content = caller.tenant.orders.document(_id(id))
    caller.record(order=id, document=found.id)
    name = _NAME.sub("_", found.name)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.post(
    "/v1/orders/{id}/end", status_code=202, openapi_extra=needs(Right.ORDERS_CHANGE, "order.ask_end")
)
def end(id: str, asked: EndAsked, caller: CallerDep) -> ApprovalView:
    """Ask that it end; another person decides (``/v1/approvals``)."""
    desk = caller.tenant.four_eyes
    caller.tenant.orders.get(_id(id))
    made = desk.ask(caller.actor, END, {"order": id}, asked.reason, caller.once("p"))
    caller.record(order=id, approval=made.id, reason=asked.reason)
    return approval_view(desk, made)


@router.get(
    "/v1/orders/{id}/certificate",
    openapi_extra=needs(Right.ORDERS, "order.certificate"),
    response_class=Response,
)
def certificate(id: str, caller: CallerDep, format: Annotated[Format, Query()] = "json") -> Response:
    """What an order had destroyed, and since when nobody can read it: signed, and in JSON with its proofs."""
    found = caller.tenant.orders.certificate(_id(id))
    caller.record(order=id, format=format)
    return signed_response(found, format, certificate_pdf, id)


def _id(given: str) -> str:
    if not well_formed(given):
        raise NoSuchThing
    return given
