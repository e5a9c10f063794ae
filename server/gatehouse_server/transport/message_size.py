"""How large messages may be."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""In either direction; the client has the same limit."""

MAX_BLOB_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
"""The largest exported session that fits into a message beside its other fields."""

MAX_RESULT_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
"""The largest result of a document, or of all documents of one unary call, likewise."""
