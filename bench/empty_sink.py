"""Peer (a): aiosmtpd as it comes, with a handler that keeps nothing. ``python -m bench.empty_sink PORT [--uvloop]``."""

import asyncio
import sys

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

BACKLOG = 1024


class Nothing:
    """Says 250 and forgets the mail."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """The whole of a handler that keeps nothing."""
        del server, session, envelope
        return "250 OK"


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Nothing(), hostname="bench.localhost", loop=loop), "127.0.0.1", port, backlog=BACKLOG
    )
    async with server:
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "--uvloop" in sys.argv[2:]:
        uvloop.run(serve(int(sys.argv[1])))
    else:
        asyncio.run(serve(int(sys.argv[1])))
