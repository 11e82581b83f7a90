"""Sessions: the logins of a user."""
from __future__ import annotations

from movieserver.schemas import responses
from movieserver.data import sessions
from movieserver.openapi.operation import Operation
from movieserver.errors import NotFound
from movieserver.formats import parse_uuid
from movieserver.handlers.base import STORED, Handler, Route

NO_LOGIN = "You have no login with this uuid."


class SessionsHandler(Handler):
    """GET /sessions/"""

    @Operation(
        "List my logins", responses.Sessions, tagged=True, errors=STORED,
        detail="Only those that can be refreshed, newest first.")
    async def get(self) -> None:
        listed = await sessions.list_all(self.resources.database, user_id=self.owner, login=self.login)
        await self.represent(f'{{"data": {listed}}}')


class SessionHandler(Handler):
    """DELETE /sessions/<uuid>/"""

    @Operation("End a login", responses.Message, errors=(*STORED, NotFound(NO_LOGIN)))
    async def delete(self, segment: str) -> None:
        login = parse_uuid(segment)
        if login is None or not await sessions.revoke(self.resources.database, user_id=self.owner, login=login):
            raise NotFound(NO_LOGIN)
        self.answer({"message": "Logged out successfully"})


class LogoutAllHandler(Handler):
    """POST /logout/all/"""

    @Operation(
        "End every login", responses.Message, errors=STORED,
        detail="No login can be refreshed any longer; access tokens stay valid until they expire.")
    async def post(self) -> None:
        await sessions.revoke_all(self.resources.database, user_id=self.owner)
        self.answer({"message": "Logged out everywhere successfully"})


routes = [
    Route("/sessions/", SessionsHandler, protected=True),
    Route("/sessions/{session_uuid}/", SessionHandler, protected=True),
    Route("/logout/all/", LogoutAllHandler, protected=True),
]
