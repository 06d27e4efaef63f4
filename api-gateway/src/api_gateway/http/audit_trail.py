"""Middleware of the audit log: notes each answered request whose route the table names."""

from typing import Final

from asgi_correlation_id import correlation_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_gateway.audit import Auditor, Note
from api_gateway.dependencies import NOTE

NO_ANSWER: Final = 0
FAILED: Final = 500


class AuditTrail:
    """ASGI middleware: gives each request a `Note`, and stores its entry before the answer begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = Note()
        scope.setdefault("state", {})[NOTE] = note
        auditor: Auditor = scope["app"].state.services.auditor
        answered = False

        async def noting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                entry = note.entry(message["status"], address=_address(scope), request=_request())
                if entry is not None:
                    await auditor.record(entry)
            await send(message)

        status = NO_ANSWER
        try:
            await self._app(scope, receive, noting)
        except Exception:  # answered outside of this middleware
            status = FAILED
            raise
        finally:
            if not answered:
                entry = note.entry(status, address=_address(scope), request=_request())
                if entry is not None:
                    auditor.add(entry)


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


def _request() -> str:
    return correlation_id.get() or ""
