"""From a message to the fields of an index. Pure."""

from archive_service.catalog.base import MessageRow
from archive_service.catalog.merge import flags_of, sent_or_received
from archive_service.model.mail import Role, Text
from search.indexes.base import IndexDocument


def to_document(message: MessageRow, text: Text) -> IndexDocument:
    """What an index holds of ``message``. ``text`` is of the message's first capture, and so are size
    (bytes of the inner message) and file names (one for each attachment, "" for one without a name).

    A recipient of unknown role (a journal's ``Recipient:`` line) is one to whom the message went: ``to:`` finds it.
    A message that names no time of sending, or none that can be read, stands at its first receipt."""
    first = message.captures[0]
    parsed = first.finding.parsed

    def addresses(*roles: Role) -> tuple[str, ...]:
        return tuple(r.address.lower() for r in message.recipients if r.role in roles)

    return IndexDocument(
        id=message.id,
        rank=message.rank,
        version=message.version,
        month=message.month,
        sent=sent_or_received(first),
        size=parsed.inner_end - parsed.inner_start,
        subject=message.subject,
        sender=(message.sender or "").lower(),
        to=addresses(Role.TO, Role.UNKNOWN),
        cc=addresses(Role.CC),
        bcc=addresses(Role.BCC),
        other_recipients=addresses(Role.UNKNOWN),
        body=text.body,
        attachments=text.attachments,
        filenames=tuple(part.filename or "" for part in parsed.parts if part.attachment),
        not_fully_indexed=text.not_fully_indexed is not None,
        flags=flags_of(message.captures),
    )
