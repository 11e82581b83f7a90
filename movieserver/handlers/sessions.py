"""Sessions: the caller's logins."""
from __future__ import annotations

from movieserver.schemas import responses
from movieserver.data import sessions
from movieserver.openapi.operation import Operation
from movieserver.errors import NotFound
from movieserver.formats import parse_uuid
from movieserver.handlers.base import DATABASE_ERRORS, Handler, Route

NO_LOGIN = "There is no such login of yours."


class SessionsHandler(Handler):
    """GET /sessions/"""

    @Operation(
        "listSessions", "List my logins", responses.Sessions, etag=True, errors=DATABASE_ERRORS,
        description="Those that can be refreshed, newest first.")
    async def get(self) -> None:
        listed = await sessions.list_all(self.resources.database, user_id=self.owner, login=self.login)
        await self.write_representation(f'{{"data": {listed}}}')


class SessionHandler(Handler):
    """At DELETE, /sessions/<uuid>/ ends that login."""

    @Operation("deleteSession", "End a login", responses.Message, errors=(*DATABASE_ERRORS, NotFound(NO_LOGIN)))
    async def delete(self, segment: str) -> None:
        login = parse_uuid(segment)
        if login is None or not await sessions.revoke(self.resources.database, user_id=self.owner, login=login):
            raise NotFound(NO_LOGIN)
        self.write_json({"message": "Logged out successfully"})


class LogoutAllHandler(Handler):
    """POST /logout/all/: the end of every login."""

    @Operation(
        "logoutEverywhere", "End every login", responses.Message, errors=DATABASE_ERRORS,
        description="Access tokens stay in force until they expire; no login can be refreshed.")
    async def post(self) -> None:
        await sessions.revoke_all(self.resources.database, user_id=self.owner)
        self.write_json({"message": "Logged out everywhere successfully"})


routes = [
    Route("/sessions/", SessionsHandler, protected=True),
    Route("/sessions/{session_uuid}/", SessionHandler, protected=True),
    Route("/logout/all/", LogoutAllHandler, protected=True),
]
