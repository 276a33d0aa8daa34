"""What flows through this room: a benchmark's row, and the chat record that it is worded as."""

from typing import TypedDict

from pkt_eval.nano.rows import Row

__all__ = ["ChatRecord", "Message", "Row"]


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


class ChatRecord(TypedDict):
    """A question and its answer: ``{"messages": [..., user, assistant]}``."""

    messages: list[Message]
