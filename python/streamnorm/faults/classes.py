"""The part of the table of what errors mean that is about classes of exceptions.

Data only, by the name of a class and of the package that it comes from, so that no library
is imported to recognise its exceptions. `streamnorm.faults.exceptions` asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from . import Blame, Category, Kind

Says = Literal["class", "cause", "status", "body"]


class Class(NamedTuple):
    """Exception classes that mean one thing, with all that derive from them.

    Attributes:
        packages: First parts of their modules' names, separated by spaces.
        names: Names of the classes, separated by spaces.
        kind: The fault's kind.
        category: What they mean.
        blame: Who can mend it.
        evidence: What says so.
        says: What is to be believed. ``class``: the class alone; a status on it is made
            up. ``cause``: the same, but what caused it says more. ``status``: its HTTP status
            and body where it has them. ``body``: its body, in which a status may be.
        decides: The category is that of the class even where there is a status.
    """

    packages: str
    names: str
    kind: Kind
    category: Category
    blame: Blame
    evidence: str
    says: Says = "class"
    decides: bool = False


_HTTPX = "httpx httpx2 httpcore httpcore2"
_STAINLESS = "openai anthropic groq cerebras together"
_LITELLM = "litellm/exceptions.py 1.106.2"
_PYREQWEST = "pyreqwest/exceptions/__init__.py 0.15.1"
_MISUSE = "the caller's own use of the library: another try will not mend it"

# The first that matches, for each class along the exception's method resolution order.
CLASSES: Final[tuple[Class, ...]] = (
    # Used wrongly: before the classes that these derive from. --------------------------
    Class(
        _HTTPX,
        "UnsupportedProtocol LocalProtocolError InvalidURL StreamError CookieConflict",
        "transport",
        "unknown",
        "client",
        f"httpx/_exceptions.py; {_MISUSE}",
    ),
    Class("aiohttp", "InvalidURL NonHttpUrlClientError", "transport", "unknown", "client", _MISUSE),
    Class(
        "requests",
        "InvalidURL MissingSchema InvalidSchema URLRequired InvalidHeader StreamConsumedError",
        "transport",
        "unknown",
        "client",
        f"requests/exceptions.py; {_MISUSE}",
    ),
    Class("urllib3", "LocationValueError", "transport", "unknown", "client", _MISUSE),
    Class(
        "pyreqwest",
        "BuilderError ClientClosedError",
        "transport",
        "unknown",
        "client",
        f"{_PYREQWEST}; {_MISUSE}",
    ),
    # What came cannot be decoded. ------------------------------------------------------
    Class(_HTTPX, "DecodingError", "corrupt", "server_error", "provider", "httpx/_exceptions.py"),
    Class(
        "aiohttp",
        "ContentEncodingError DecompressSizeError",
        "corrupt",
        "server_error",
        "provider",
        "aiohttp/http_exceptions.py",
    ),
    Class(
        "requests",
        "ContentDecodingError JSONDecodeError",
        "corrupt",
        "server_error",
        "provider",
        "requests/exceptions.py",
    ),
    Class("urllib3", "DecodeError", "corrupt", "server_error", "provider", "urllib3/exceptions.py"),
    Class("pyreqwest", "DecodeError", "corrupt", "server_error", "provider", _PYREQWEST),
    Class("zlib", "error", "corrupt", "server_error", "provider", "docs.python.org/3/library/zlib"),
    Class(
        "json simplejson orjson",
        "JSONDecodeError",
        "corrupt",
        "server_error",
        "provider",
        "openai/_streaming.py: sse.json() of every event",
    ),
    Class(
        "builtins",
        "UnicodeDecodeError",
        "corrupt",
        "server_error",
        "provider",
        "httpx/_decoders.py",
    ),
    Class(
        "pydantic pydantic_core",
        "ValidationError",
        "corrupt",
        "server_error",
        "provider",
        "SDKs that validate every chunk",
    ),
    Class(
        f"{_STAINLESS} litellm",
        "APIResponseValidationError",
        "corrupt",
        "server_error",
        "provider",
        "openai/_exceptions.py",
    ),
    # The connection. -------------------------------------------------------------------
    Class(
        _HTTPX,
        "RequestError NetworkError TimeoutException ProtocolError ProxyError",
        "transport",
        "api_connection",
        "transport",
        "httpx/_exceptions.py, httpcore/_exceptions.py",
    ),
    Class(
        "aiohttp",
        "ClientConnectionError ClientPayloadError PayloadEncodingError",
        "transport",
        "api_connection",
        "transport",
        "aiohttp/client_exceptions.py",
    ),
    Class(
        "requests",
        "ConnectionError Timeout ChunkedEncodingError",
        "transport",
        "api_connection",
        "transport",
        "requests/exceptions.py",
    ),
    Class(
        "urllib3",
        "PoolError ProtocolError TimeoutError SSLError ProxyError IncompleteRead"
        " InvalidChunkLength",
        "transport",
        "api_connection",
        "transport",
        "urllib3/exceptions.py",
    ),
    Class(
        "pyreqwest",
        "TransportError RequestError",
        "transport",
        "api_connection",
        "transport",
        f"{_PYREQWEST}: of connecting, sending, reading and their time limits",
    ),
    Class("h11 h2", "ProtocolError", "transport", "api_connection", "transport", "h11, h2"),
    Class(
        "anyio trio",
        "BrokenResourceError ClosedResourceError EndOfStream IncompleteRead",
        "transport",
        "api_connection",
        "transport",
        "anyio/_core/_exceptions.py",
    ),
    Class(
        "builtins asyncio ssl http socket",
        "ConnectionError TimeoutError IncompleteReadError SSLError HTTPException EOFError gaierror",
        "transport",
        "api_connection",
        "transport",
        "docs.python.org/3/library",
    ),
    Class(
        f"{_STAINLESS} litellm",
        "APIConnectionError APITimeoutError Timeout",
        "transport",
        "api_connection",
        "transport",
        f"openai/_exceptions.py; {_LITELLM} (their 500 and 408 are made up)",
        "cause",
    ),
    # LiteLLM. --------------------------------------------------------------------------
    Class(
        "litellm",
        "MidStreamFallbackError",
        "transport",
        "api_connection",
        "transport",
        f"{_LITELLM}: its status is that of original_exception, or 503",
        "cause",
    ),
    Class(
        "litellm",
        "ContextWindowExceededError",
        "http_error",
        "context_window_exceeded",
        "request",
        _LITELLM,
        "status",
        decides=True,
    ),
    Class(
        "litellm",
        "ContentPolicyViolationError RejectedRequestError UnsupportedParamsError"
        " GuardrailRaisedException BlockedPiiEntityError",
        "http_error",
        "invalid_request",
        "request",
        _LITELLM,
        "status",
        decides=True,
    ),
    Class(
        "litellm",
        "BudgetExceededError",
        "http_error",
        "quota_exceeded",
        "credential",
        _LITELLM,
        "status",
        decides=True,
    ),
    Class(
        "litellm",
        "RouterRateLimitError RouterRateLimitErrorBasic",
        "http_error",
        "rate_limit",
        "credential",
        "litellm/types/router.py: every deployment is in its cooldown",
        "status",
        decides=True,
    ),
    Class("litellm", "APIError", "http_error", "unknown", "provider", _LITELLM, "status"),
    # Errors with a status or a body. ---------------------------------------------------
    Class(
        "pyreqwest",
        "StatusError",
        "http_error",
        "unknown",
        "provider",
        f"{_PYREQWEST}: raised where error_for_status() is on; the body is dropped",
        "status",
    ),
    Class(
        _STAINLESS,
        "ContentFilterFinishReasonError",
        "error_event",
        "invalid_request",
        "request",
        "openai/_exceptions.py",
    ),
    Class(
        _STAINLESS,
        "APIStatusError",
        "http_error",
        "unknown",
        "provider",
        "openai/_exceptions.py; anthropic/_streaming.py raises it with status 200",
        "status",
    ),
    Class(
        _STAINLESS,
        "APIError",
        "error_event",
        "unknown",
        "provider",
        "openai/_streaming.py raises it for an event with an error",
        "body",
    ),
    Class(
        _STAINLESS,
        "OpenAIError AnthropicError GroqError CerebrasError TogetherError",
        "transport",
        "unknown",
        "client",
        f"openai/_client.py: no API key; {_MISUSE}",
    ),
)
