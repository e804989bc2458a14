"""What the annotations need at run time, which is nothing (`typing_sample` has the rest)."""

from __future__ import annotations

import subprocess
import sys
from types import MappingProxyType
from typing import Any

from streamnorm import normalize_response
from streamnorm.options import Options, OptionsDict


def hints(annotated: Any) -> dict[str, str]:
    """The annotations as they are written; Python versions keep them in other objects."""
    return {
        name: str(getattr(hint, "__forward_arg__", hint))
        for name, hint in annotated.__annotations__.items()
    }


def test_both_forms_of_the_options_are_the_same() -> None:
    assert hints(OptionsDict) == hints(Options)
    assert list(OptionsDict.__annotations__) == list(Options._fields)
    assert not OptionsDict.__required_keys__


def test_typing_extensions_is_not_needed() -> None:
    code = "import sys; sys.modules['typing_extensions'] = None; import streamnorm"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bodies_of_the_annotated_types_are_taken() -> None:
    body = b'{"choices":[{"message":{"reasoning":"a"}}]}'
    edited = b'{"choices":[{"message":{"reasoning_content":"a"}}]}'
    for wrapped in (body, bytearray(body), memoryview(body)):
        made = normalize_response(wrapped)
        assert type(made) is bytes
        assert made == edited
    given = {"choices": [{"message": {"reasoning": "a"}}]}
    normal = normalize_response(MappingProxyType(given))
    assert type(normal) is dict
    assert normal == normalize_response(given) != given
