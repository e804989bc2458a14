"""Errors of real providers, in the shapes that their documentation gives, and what they mean.

The words are our own. The expectations come from what each provider says of its errors,
and from who can mend them: the request, the credential, the provider.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """A response with an error, and what it means.

    Attributes:
        name: Provider and error.
        status: HTTP status; 200 for an error inside a stream.
        body: JSON or text.
        category: What it means.
        blame: Who can mend it.
        code: Value of ``provider_code``.
        wait: Value of ``retry_after``.
        headers: Of the response.
    """

    name: str
    status: int
    body: Any
    category: str
    blame: str
    code: str | None = None
    wait: float | None = None
    headers: dict[str, str] | None = None


def openai(message: str, kind: str | None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def google(code: int, message: str, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": [*details]}}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def openrouter(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "u"}


def minimax(code: int, message: str) -> dict[str, Any]:
    return {"id": "0", "choices": None, "base_resp": {"status_code": code, "status_msg": message}}


def zhipu(code: str, message: str = "see the code") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
