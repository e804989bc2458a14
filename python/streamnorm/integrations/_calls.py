"""Which refusals a client swallows, told by the frames that its request comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any, Final

from .. import captured
from ..captured import Refusal

# Modules whose functions make None of a refusal. LiteLLM's ``completion``, ``acompletion``
# and ``async_streaming`` there ask twice, in a loop, and leave it at that where both attempts
# were answered with status 422 and ``drop_params`` is set; else they raise (read in 1.78.5,
# 1.81.5, 1.82.6 and 1.106.2; LiteLLM's issue 32221). No other of its modules has that loop.
SWALLOWING: Final = frozenset(("litellm.llms.openai.openai",))

# Variables of these functions: the setting for one call, and an object that is made for each
# call and lasts for both attempts.
_SETTING: Final = "drop_params"
_LASTING: Final = "logging_obj"


def is_swallowed_repeat(refusal: Refusal, asked: Callable[[], Hashable]) -> bool:
    """Note *refusal*, if it will be of use; whether the client would now answer with None.

    Outside of any `captured.call` only what a client swallows is of use: what it raises
    explains no None that comes later.

    Args:
        refusal: What a request of the running task was just answered with.
        asked: Gives what tells that request from others; None where nothing does.
    """
    is_swallowable = refusal.status in captured.SWALLOWED
    lasting = _lasting() if is_swallowable else None
    if lasting is None and not captured.is_in_call():
        captured.note(None)
        return False
    request = asked() if is_swallowable else None
    is_repeat = captured.is_repeat(request, lasting)
    captured.note(refusal, request, lasting)
    if is_repeat:
        captured.forget()
    return is_repeat


def _lasting() -> object | None:
    """What lasts as long as the call that swallows, if the request comes from one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in SWALLOWING:
            names = frame.f_code.co_varnames
            if _SETTING in names and _LASTING in names:
                variables = frame.f_locals
                is_set = variables.get(_SETTING) is True or _is_set_for_all()
                return variables.get(_LASTING) if is_set else None
        frame = frame.f_back
    return None


def _is_set_for_all() -> bool:
    litellm: Any = sys.modules.get("litellm")
    return getattr(litellm, _SETTING, None) is True
