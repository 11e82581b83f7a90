"""On the PYTHONPATH of every server that tests start: hides packages that only tests need.

structlog and PyJWT would import them, which takes longer than all of the server's own modules.
"""
from __future__ import annotations

import sys

sys.modules["rich"] = sys.modules["cryptography"] = None  # type: ignore[assignment]
