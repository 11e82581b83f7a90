"""Sessions: the logins of a user."""
from __future__ import annotations

from movieserver.data import sessions
from movieserver.errors import NotFound
from movieserver.formats import parse_uuid
from movieserver.handlers.base import Handler
from movieserver.openapi.operation import Operation, Route
from movieserver.schemas import responses

NO_LOGIN = "You have no login with this uuid."


class SessionsHandler(Handler):
    """GET /sessions/"""

    login_only = True

    @Operation(
        "listSessions", "List my logins", responses.Sessions, etag=True,
        description="Only those that can be refreshed, newest first.")
    async def get(self) -> None:
        listed = await sessions.list_all(self.db, user_id=self.owner, login=self.login_uuid)
        await self.write_representation(f'{{"data": {listed}}}')


class SessionHandler(Handler):
    """One login: DELETE /sessions/<uuid>/"""

    login_only = True

    @Operation("deleteSession", "End a login", responses.Message, errors=(NotFound(NO_LOGIN),))
    async def delete(self, segment: str) -> None:
        login = parse_uuid(segment)
        if login is None or not await sessions.revoke(self.db, user_id=self.owner, login=login):
            raise NotFound(NO_LOGIN)
        self.write_json({"message": "Logged out successfully"})


class LogoutAllHandler(Handler):
    """POST /logout/all/"""

    login_only = True

    @Operation(
        "logoutEverywhere", "End every login", responses.Message,
        description="No login can be refreshed any longer; access tokens stay valid until they expire.")
    async def post(self) -> None:
        await sessions.revoke_all(self.db, user_id=self.owner)
        self.write_json({"message": "Logged out everywhere successfully"})


routes = [
    Route("/sessions/", SessionsHandler, protected=True),
    Route("/sessions/{session_uuid}/", SessionHandler, protected=True),
    Route("/logout/all/", LogoutAllHandler, protected=True),
]
