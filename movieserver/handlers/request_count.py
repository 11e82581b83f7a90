"""The request count: anyone may read it; a reset needs the reset token if one is set."""
from __future__ import annotations

import hmac

from movieserver.errors import Unauthenticated
from movieserver.handlers.base import OpenHandler
from movieserver.http.headers import bearer_token
from movieserver.openapi.operation import Operation, Route
from movieserver.redis.request_counter import CounterUnavailable
from movieserver.schemas import responses

NEEDED = "A reset needs the reset token: Authorization: Bearer <COUNTER_RESET_TOKEN>."


class RequestCountHandler(OpenHandler):
    """GET /request-count/"""

    @Operation(
        "getRequestCount", "Read the request count", responses.RequestCount, errors=(CounterUnavailable(),),
        description="The number of requests since the last reset, including this one: the first read after a reset is "
        "1. Between two resets, no two reads get the same number.")
    async def get(self) -> None:
        number = await self.request_number()
        if number is None:
            raise CounterUnavailable
        self.write_json({"requests": number})


class ResetHandler(OpenHandler):
    """POST /request-count/reset/"""

    async def authenticate(self) -> None:
        token = self.settings["reset_token"]
        if token and not hmac.compare_digest(self._sent_token().encode(), token.encode()):
            raise Unauthenticated(NEEDED)

    def _sent_token(self) -> str:
        try:
            return bearer_token(self.request.headers)
        except Unauthenticated:
            return ""

    @Operation(
        "resetRequestCount", "Reset the request count", responses.Message, security="resetToken",
        errors=(Unauthenticated(NEEDED), CounterUnavailable()))
    async def post(self) -> None:
        await self.request_number()  # this request belongs to the count that ends
        await self.resources.counter.reset()
        self.write_json({"message": "Request count reset successfully"})


routes = [
    Route("/request-count/", RequestCountHandler, protected=False),
    Route("/request-count/reset/", ResetHandler, protected=False),
]
