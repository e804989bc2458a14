"""What real exceptions of HTTP libraries, SDKs and LiteLLM say of a stream."""

from __future__ import annotations

import asyncio
import builtins
import http.client
import importlib
import json
import sys
import urllib.error
from email.message import Message
from typing import Any, ClassVar

import pytest

from streamnorm import StreamFault, faults

URL = "https://example.org/v1/chat/completions"
RATE = {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}
TRANSPORT = ("transport", "api_connection", "transport")
MISUSE = ("transport", "unknown", "client")
CORRUPT = ("corrupt", "server_error", "provider")
LIMITED = ("http_error", "rate_limit", "credential")


def meaning(fault: StreamFault) -> tuple[str, str, str]:
    return fault.kind, fault.category, fault.blame


def classify(error: BaseException) -> StreamFault:
    fault = faults.from_exception(error)
    assert fault.__cause__ is error
    assert str(fault).isprintable()
    return fault


def raised(error: BaseException, cause: BaseException | None) -> BaseException:
    """*error* as it is caught after ``raise error from cause``."""
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001 - whatever it is
        return caught


def json_error() -> json.JSONDecodeError:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    return caught.value


# Any exception. ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError("peer went away"), TRANSPORT),
        (TimeoutError(), TRANSPORT),
        (asyncio.TimeoutError(), TRANSPORT),
        (asyncio.IncompleteReadError(b"", 5), TRANSPORT),
        (http.client.IncompleteRead(b""), TRANSPORT),
        (urllib.error.URLError("no route"), TRANSPORT),
        (OSError(5, "Input/output error"), TRANSPORT),
        (ValueError("odd"), TRANSPORT),
        (KeyError("choices"), TRANSPORT),
        (json_error(), CORRUPT),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), CORRUPT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_standard_exception(error: Exception, expected: tuple[str, str, str]) -> None:
    fault = classify(error)
    assert meaning(fault) == expected
    assert type(error).__name__ in str(fault)
    assert (fault.status_code, fault.retry_after, fault.body) == (None, None, None)


def test_fault_is_returned_as_it_is() -> None:
    fault = faults.too_large("line", 5)
    assert faults.from_exception(fault) is fault
    assert faults.from_exception(raised(ConnectionError("x"), fault)) is fault
    assert fault.__cause__ is None


def test_http_error_of_urllib() -> None:
    headers = Message()
    headers["Retry-After"] = "12"
    fault = classify(urllib.error.HTTPError(URL, 429, "Too Many Requests", headers, None))
    assert meaning(fault) == LIMITED
    assert (fault.status_code, fault.retry_after) == (429, 12)


def test_any_exception_with_a_status_is_an_answer() -> None:
    class VendorError(Exception):
        status_code = 401
        body = b'{"message": "no such key"}'

    fault = classify(VendorError("401"))
    assert meaning(fault) == ("http_error", "authentication", "credential")
    assert (fault.body, fault.provider_message) == ({"message": "no such key"}, "no such key")


@pytest.mark.parametrize("status", [0, 200, 302, 600, True, "429", None, 429.0])
def test_what_is_no_status_of_an_error_is_none(status: Any) -> None:
    error = ValueError("odd")
    error.status_code = status  # type: ignore[attr-defined]
    fault = classify(error)
    assert (meaning(fault), fault.status_code) == (TRANSPORT, None)


def test_status_of_botocore() -> None:
    # Shape of botocore.exceptions.ClientError.
    class ClientError(Exception):
        response: ClassVar[dict[str, Any]] = {
            "Error": {"Code": "ThrottlingException", "Message": "Slow down"},
            "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"retry-after": "4"}},
        }

    fault = classify(ClientError("An error occurred"))
    assert meaning(fault) == LIMITED
    assert (fault.status_code, fault.provider_code, fault.retry_after) == (
        429,
        "ThrottlingException",
        4,
    )


def test_exception_that_cannot_say_what_it_is() -> None:
    class Mute(Exception):
        @property
        def response(self) -> Any:
            raise RuntimeError("not read")

        def __str__(self) -> str:
            raise ValueError("mute")

    assert meaning(classify(Mute())) == TRANSPORT


# Chains. -----------------------------------------------------------------------------


def test_cause_that_says_more_decides() -> None:
    class VendorError(Exception):
        status_code = 402

    error = raised(RuntimeError("wrapped"), raised(ValueError("again"), VendorError("pay")))
    fault = classify(error)
    assert meaning(fault) == ("http_error", "quota_exceeded", "credential")


def test_suppressed_context_is_not_asked() -> None:
    class VendorError(Exception):
        status_code = 402

    def chain(suppress: bool) -> BaseException:
        try:
            try:
                raise VendorError("pay")
            except VendorError:
                if suppress:
                    raise ValueError("odd") from None
                raise ValueError("odd")  # noqa: B904 - the case
        except ValueError as error:
            return error

    assert classify(chain(suppress=False)).category == "quota_exceeded"
    assert meaning(classify(chain(suppress=True))) == TRANSPORT


def test_chain_that_is_a_circle_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert meaning(classify(one)) == TRANSPORT


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no exception groups")
def test_exceptions_of_a_group_are_asked() -> None:
    class VendorError(Exception):
        status_code = 503

    group = vars(builtins)["ExceptionGroup"]("tasks", [ValueError("x"), VendorError("busy")])
    assert meaning(classify(group)) == ("http_error", "server_error", "provider")


# HTTP libraries. ---------------------------------------------------------------------


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ReadTimeout", TRANSPORT),
        ("ConnectTimeout", TRANSPORT),
        ("PoolTimeout", TRANSPORT),
        ("ConnectError", TRANSPORT),
        ("ReadError", TRANSPORT),
        ("CloseError", TRANSPORT),
        ("RemoteProtocolError", TRANSPORT),
        ("ProxyError", TRANSPORT),
        ("TooManyRedirects", TRANSPORT),
        ("DecodingError", CORRUPT),
        ("UnsupportedProtocol", MISUSE),
        ("LocalProtocolError", MISUSE),
        ("InvalidURL", MISUSE),
    ],
)
def test_httpx(library: str, name: str, expected: tuple[str, str, str]) -> None:
    module = pytest.importorskip(library)
    fault = classify(getattr(module, name)("words"))
    assert meaning(fault) == expected
    assert str(fault).endswith(f": {name}: words")


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_httpx_stream_that_was_used_up_is_the_callers_doing(library: str) -> None:
    module = pytest.importorskip(library)
    assert meaning(classify(module.StreamConsumed())) == MISUSE
    assert meaning(classify(module.StreamClosed())) == MISUSE


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_httpx_status(library: str) -> None:
    module = pytest.importorskip(library)
    request = module.Request("POST", URL)
    response = module.Response(
        429, json={"error": RATE}, headers={"Retry-After": "3"}, request=request
    )
    error = module.HTTPStatusError("429", request=request, response=response)
    fault = classify(error)
    assert meaning(fault) == LIMITED
    assert (fault.status_code, fault.provider_code, fault.provider_message, fault.retry_after) == (
        429,
        "rate_limit_exceeded",
        "Slow down",
        3,
    )
    assert fault.body == {"error": RATE}


def test_httpx_status_whose_body_was_not_read() -> None:
    httpx = pytest.importorskip("httpx")
    request = httpx.Request("POST", URL)
    response = httpx.Response(503, stream=httpx.ByteStream(b"x"), request=request)
    fault = classify(httpx.HTTPStatusError("503", request=request, response=response))
    assert meaning(fault) == ("http_error", "server_error", "provider")


def test_aiohttp() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    for error, expected in [
        (aiohttp.ServerDisconnectedError(), TRANSPORT),
        (aiohttp.ClientPayloadError("not all data"), TRANSPORT),
        (aiohttp.SocketTimeoutError("read"), TRANSPORT),
        (aiohttp.ClientConnectionError("x"), TRANSPORT),
        (aiohttp.ClientOSError(104, "reset"), TRANSPORT),
        (aiohttp.InvalidURL("x"), MISUSE),
        (
            raised(
                aiohttp.ClientPayloadError("x"),
                aiohttp.http_exceptions.ContentEncodingError("gzip"),
            ),
            CORRUPT,
        ),
    ]:
        assert meaning(classify(error)) == expected


def test_aiohttp_status(recwarn: pytest.WarningsRecorder) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    for status, expected in [(429, 429), (302, None)]:
        error = aiohttp.ClientResponseError(
            None, (), status=status, message="words", headers={"Retry-After": "9"}
        )
        fault = classify(error)
        assert fault.status_code == expected
        assert fault.kind == ("http_error" if expected else "transport")
        assert fault.retry_after == (9 if expected else None)
    assert not recwarn.list


def test_requests() -> None:
    requests = pytest.importorskip("requests")
    exceptions = requests.exceptions
    for error, expected in [
        (exceptions.ChunkedEncodingError("broken"), TRANSPORT),
        (exceptions.ReadTimeout("slow"), TRANSPORT),
        (exceptions.ConnectionError("refused"), TRANSPORT),
        (exceptions.ContentDecodingError("gzip"), CORRUPT),
        (exceptions.MissingSchema("x"), MISUSE),
        (exceptions.StreamConsumedError("x"), MISUSE),
    ]:
        assert meaning(classify(error)) == expected


def test_requests_status() -> None:
    requests = pytest.importorskip("requests")

    class Unread:
        def read(self, *_: Any) -> bytes:
            raise AssertionError("the body is not to be read: it may block")

    response = requests.Response()
    response.status_code = 401
    response.raw = Unread()
    fault = classify(requests.HTTPError("401", response=response))
    assert meaning(fault) == ("http_error", "authentication", "credential")
    assert fault.body is None


def test_urllib3() -> None:
    urllib3 = pytest.importorskip("urllib3")
    exceptions = urllib3.exceptions
    for error, expected in [
        (exceptions.ProtocolError("broken"), TRANSPORT),
        (exceptions.IncompleteRead(1, 2), TRANSPORT),
        (exceptions.ReadTimeoutError(None, URL, "slow"), TRANSPORT),
        (exceptions.DecodeError("gzip"), CORRUPT),
        (exceptions.LocationParseError("x"), MISUSE),
    ]:
        assert meaning(classify(error)) == expected


# OpenAI's SDK, and those that are made by the same generator. ------------------------

SDKS = ["openai", "anthropic", "groq"]


def request_of(sdk: Any) -> tuple[Any, Any]:
    """The HTTP library that this version of the SDK uses, and a request of it."""
    module = importlib.import_module(f"{sdk.__name__}._exceptions")
    library = vars(module).get("httpx") or vars(module)["httpx2"]
    return library, library.Request("POST", URL)


@pytest.mark.parametrize("name", SDKS)
def test_sdk_error_in_a_stream_is_an_error_event(name: str) -> None:
    sdk = pytest.importorskip(name)
    _, request = request_of(sdk)
    fault = classify(sdk.APIError("Slow down", request=request, body=dict(RATE)))
    assert meaning(fault) == ("error_event", "rate_limit", "credential")
    assert (fault.status_code, fault.provider_code, fault.provider_message) == (
        None,
        "rate_limit_exceeded",
        "Slow down",
    )
    assert fault.body == RATE


def test_sdk_error_in_a_stream_with_a_status_in_its_body() -> None:
    openai = pytest.importorskip("openai")
    _, request = request_of(openai)
    body = {"message": "Upstream error", "code": 502}
    fault = classify(openai.APIError("Upstream error", request=request, body=body))
    assert meaning(fault) == ("error_event", "server_error", "provider")
    assert fault.status_code == 502


@pytest.mark.parametrize("name", SDKS)
def test_sdk_status(name: str) -> None:
    sdk = pytest.importorskip(name)
    http_library, request = request_of(sdk)
    response = http_library.Response(429, headers={"retry-after-ms": "1500"}, request=request)
    fault = classify(sdk.RateLimitError("Error code: 429", response=response, body=dict(RATE)))
    assert meaning(fault) == LIMITED
    assert (fault.status_code, fault.retry_after) == (429, 1.5)


def test_status_of_200_is_none_for_an_event_of_anthropic() -> None:
    # anthropic/_streaming.py raises a status error for an error event: the status is 200.
    anthropic = pytest.importorskip("anthropic")
    http_library, request = request_of(anthropic)
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    error = anthropic.APIStatusError(
        "Overloaded", response=http_library.Response(200, request=request), body=body
    )
    fault = classify(error)
    assert meaning(fault) == ("error_event", "server_error", "provider")
    assert (fault.status_code, fault.provider_code) == (None, "overloaded_error")


@pytest.mark.parametrize("name", SDKS)
def test_sdk_connection_error_is_what_caused_it(name: str) -> None:
    sdk = pytest.importorskip(name)
    http_library, request = request_of(sdk)
    cause = http_library.ReadTimeout("no bytes", request=request)
    fault = classify(raised(sdk.APIConnectionError(request=request), cause))
    assert meaning(fault) == TRANSPORT
    assert "APIConnectionError" in str(fault)
    assert "ReadTimeout: no bytes" in str(fault)
    misuse = http_library.LocalProtocolError("Illegal header value b'Bearer '", request=request)
    fault = classify(raised(sdk.APIConnectionError(request=request), misuse))
    assert meaning(fault) == MISUSE


def test_sdk_timeout_without_a_cause() -> None:
    openai = pytest.importorskip("openai")
    _, request = request_of(openai)
    assert meaning(classify(openai.APITimeoutError(request=request))) == TRANSPORT


def test_sdk_refusal_and_misuse() -> None:
    openai = pytest.importorskip("openai")
    assert meaning(classify(openai.ContentFilterFinishReasonError())) == (
        "error_event",
        "invalid_request",
        "request",
    )
    assert meaning(classify(openai.OpenAIError("The api_key option must be set"))) == MISUSE


# LiteLLM. ----------------------------------------------------------------------------

NAMES = {"llm_provider": "openai", "model": "m"}


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return pytest.importorskip("litellm")


@pytest.mark.parametrize(
    ("name", "status", "category", "blame"),
    [
        ("AuthenticationError", 401, "authentication", "credential"),
        ("NotFoundError", 404, "invalid_request", "request"),
        ("BadRequestError", 400, "invalid_request", "request"),
        ("RateLimitError", 429, "rate_limit", "credential"),
        ("ContextWindowExceededError", 400, "context_window_exceeded", "request"),
        ("ContentPolicyViolationError", 400, "invalid_request", "request"),
        ("ServiceUnavailableError", 503, "server_error", "provider"),
        ("InternalServerError", 500, "server_error", "provider"),
    ],
)
def test_litellm_status(litellm: Any, name: str, status: int, category: str, blame: str) -> None:
    error = getattr(litellm, name)(message="OpenAIException - words of the upstream", **NAMES)
    fault = classify(error)
    assert meaning(fault) == ("http_error", category, blame)
    assert (fault.status_code, fault.provider_message) == (status, "words of the upstream")


def test_litellm_permission(litellm: Any) -> None:
    httpx = pytest.importorskip("httpx")
    response = httpx.Response(403, request=httpx.Request("POST", URL))
    error = litellm.exceptions.PermissionDeniedError(message="no", response=response, **NAMES)
    assert meaning(classify(error)) == ("http_error", "forbidden", "credential")


@pytest.mark.parametrize(
    "text",
    [
        "OpenrouterException - " + json.dumps({"error": RATE}),
        f"GroqException - {json.dumps({'error': RATE}).encode()!r}",
        f"Error code: 429 - { ({'error': RATE})!r}",
    ],
    ids=["json", "bytes", "repr"],
)
def test_body_is_dug_out_of_litellms_words(litellm: Any, text: str) -> None:
    fault = classify(litellm.RateLimitError(message=text, **NAMES))
    assert meaning(fault) == LIMITED
    assert (fault.provider_code, fault.provider_message) == ("rate_limit_exceeded", "Slow down")
    assert fault.body == {"error": RATE}


def test_the_words_are_behind_litellms_where_it_has_only_the_status(litellm: Any) -> None:
    """What it keeps is the text of the SDK's error, which from openai 3 on is the status."""
    openai = pytest.importorskip("openai")
    library, request = request_of(openai)
    body = {"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required"}]}
    response = library.Response(400, request=request)
    behind = openai.BadRequestError("Error code: 400", response=response, body=body)
    error = litellm.BadRequestError(message="OpenAIException - Error code: 400", **NAMES)
    fault = classify(raised(error, behind))
    assert meaning(fault) == ("http_error", "invalid_request", "request")
    assert (fault.status_code, fault.provider_code, fault.body) == (400, "missing", body)
    assert fault.provider_message == "body.x: Field required"

    # Words of another sort of failure are not those of this one.
    other = openai.RateLimitError(
        "Error code: 429", response=library.Response(429, request=request), body=body
    )
    failed = litellm.InternalServerError(message="OpenAIException - Error code: 500", **NAMES)
    fault = classify(raised(failed, other))
    assert (fault.status_code, fault.body) == (500, None)


def test_litellm_headers_say_how_long_to_wait(litellm: Any) -> None:
    error = litellm.RateLimitError(message="words", **NAMES)
    error.litellm_response_headers = {"Retry-After": "21"}
    assert classify(error).retry_after == 21


def test_litellm_connection_error_has_no_status(litellm: Any) -> None:
    fault = classify(litellm.APIConnectionError(message="OpenAIException - broken pipe", **NAMES))
    assert (meaning(fault), fault.status_code) == (TRANSPORT, None)
    fault = classify(litellm.Timeout(message="too slow", **NAMES))
    assert (meaning(fault), fault.status_code) == (TRANSPORT, None)


def test_upstreams_error_in_litellms_connection_error_is_found(litellm: Any) -> None:
    # LiteLLM has no better class for an error event of some providers.
    text = "OpenAIException - " + json.dumps({"error": {"message": "Overloaded", "code": 503}})
    fault = classify(litellm.APIConnectionError(message=text, **NAMES))
    assert meaning(fault) == ("error_event", "server_error", "provider")
    assert (fault.status_code, fault.provider_message) == (503, "Overloaded")


def test_litellm_mid_stream_error_is_its_original(litellm: Any) -> None:
    original = litellm.RateLimitError(message="Try again in 8s", **NAMES)
    error = litellm.exceptions.MidStreamFallbackError(
        message="x", original_exception=original, generated_content="Hello", **NAMES
    )
    fault = classify(error)
    assert meaning(fault) == LIMITED
    assert (fault.status_code, fault.retry_after) == (429, 8)
    assert (fault.visible_output, fault.safe_to_retry) == (True, False)


def test_litellm_mid_stream_error_before_any_output_may_be_retried(litellm: Any) -> None:
    original = litellm.InternalServerError(message="broken", **NAMES)
    error = litellm.exceptions.MidStreamFallbackError(
        message="x", original_exception=original, is_pre_first_chunk=True, **NAMES
    )
    fault = classify(error)
    assert meaning(fault) == ("http_error", "server_error", "provider")
    assert (fault.visible_output, fault.safe_to_retry) == (False, True)


def test_litellm_mid_stream_error_without_an_original(litellm: Any) -> None:
    error = litellm.exceptions.MidStreamFallbackError(message="cut", **NAMES)
    fault = classify(error)
    assert (meaning(fault), fault.status_code) == (TRANSPORT, None)


def test_litellm_mid_stream_error_of_a_lost_connection(litellm: Any) -> None:
    httpx = pytest.importorskip("httpx")
    lost = httpx.RemoteProtocolError("peer closed connection")
    wrapped = raised(litellm.APIConnectionError(message="x", **NAMES), lost)
    error = litellm.exceptions.MidStreamFallbackError(
        message="x", original_exception=wrapped, generated_content="Hel", **NAMES
    )
    fault = classify(error)
    assert (meaning(fault), fault.status_code, fault.visible_output) == (TRANSPORT, None, True)
    assert "peer closed connection" in str(fault)


def test_litellm_budget_and_cooldown(litellm: Any) -> None:
    from litellm.types.router import RouterRateLimitError

    fault = classify(litellm.BudgetExceededError(current_cost=2.0, max_budget=1.0))
    assert (fault.category, fault.blame) == ("quota_exceeded", "credential")
    cooling = RouterRateLimitError(
        model="m", cooldown_time=5.5, enable_pre_call_checks=False, cooldown_list=[]
    )
    fault = classify(cooling)
    assert (fault.category, fault.retry_after) == ("rate_limit", 5.5)
