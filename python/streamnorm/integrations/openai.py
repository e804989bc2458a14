"""OpenAI's SDK: a client whose streams are in normal form, whatever the provider sends.

Reasoning is then in ``chunk.choices[0].delta.reasoning_content``, a member that the SDK does
not know and keeps.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

try:
    import openai
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.openai needs openai: pip install 'streamnorm[openai]'"
    ) from _error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import TransportOptions

__all__ = ["normalize_openai"]

_Client = TypeVar("_Client", bound="openai.OpenAI | openai.AsyncOpenAI")

# What the SDK sends with: httpx up to 2.x, httpx2 from 3.0 on, where it still takes httpx.
_LIBRARIES: Final = ("httpx", "httpx2")


def normalize_openai(client: _Client, **options: Unpack[TransportOptions]) -> _Client:
    """Have *client* normalise what it reads: the HTTP client below it is changed in place.

    Clients that share that one (made by ``with_options`` or ``copy``, before or afterwards)
    are so as well. May be called again; the options of the last call count.

    Args:
        client: An ``openai.OpenAI``, ``AsyncOpenAI`` or one of Azure.
        options: See `streamnorm.integrations.httpx.NormalizingTransport`.

    Returns:
        *client*.

    Raises:
        TypeError: It is something else, or an option is unknown or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """
    if not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        kind = type(client)
        name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        raise TypeError(f"normalize_openai needs an OpenAI or AsyncOpenAI client, not {name}")
    http_client: Any = client._client
    packages = [base.__module__.partition(".")[0] for base in type(http_client).__mro__]
    library = next(package for package in packages if package in _LIBRARIES)
    integration = importlib.import_module(f".{library}", __package__)
    integration.normalize_client(http_client, **options)
    return client
