"""Sessions: the caller's logins."""
from __future__ import annotations

from movieserver.bodies import parse_uuid
from movieserver.data import sessions
from movieserver.errors import NotFound
from movieserver.handlers.base import Handler, Route


class SessionsHandler(Handler):
    """GET /sessions/"""

    async def get(self) -> None:
        listed = await sessions.list(self.resources.database, user_id=self.owner, login=self.login)
        self.answer(f'{{"data": {listed}}}')


class SessionHandler(Handler):
    """At DELETE, /sessions/<uuid>/ ends that login."""

    async def delete(self, segment: str) -> None:
        login = parse_uuid(segment)
        if login is None or not await sessions.revoke(self.resources.database, user_id=self.owner, login=login):
            raise NotFound("There is no such login of yours.")
        self.answer({"message": "Logged out successfully"})


class LogoutAllHandler(Handler):
    """POST /logout/all/: the end of every login."""

    async def post(self) -> None:
        await sessions.revoke_all(self.resources.database, user_id=self.owner)
        self.answer({"message": "Logged out everywhere successfully"})


routes = [
    Route("/sessions/", SessionsHandler, protected=True),
    Route("/sessions/{session_uuid}/", SessionHandler, protected=True),
    Route("/logout/all/", LogoutAllHandler, protected=True),
]
