"""The recipes of docs/integrations: the pages' own code is what is tested."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import CodeType
from typing import Any

PAGES = Path(__file__).parents[2] / "docs" / "integrations"
MOST_LINES = 10


def recipes(page: str) -> dict[str, str]:
    """The code of a page by its heading, ``Recipe`` or ``Recipe: <title>``."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0].strip()
        if heading == "Recipe" or heading.startswith("Recipe: "):
            (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
            found[heading.removeprefix("Recipe: ")] = code
    assert found, f"{page}.md has no recipe"
    return found


def recipe(page: str, title: str = "Recipe") -> str:
    """The code of one recipe, which has few lines."""
    code = recipes(page)[title]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES, f"{page}.md, {title}: {len(lines)} lines"
    return code


def _compiled(page: str, title: str) -> CodeType:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(recipe(page, title), f"{page}.md: {title}", "exec", flags, dont_inherit=True)


async def run_recipe(page: str, title: str = "Recipe", **names: Any) -> dict[str, Any]:
    """Run a recipe with *names* defined; return all names that are defined behind it."""
    names.setdefault("__name__", "recipe")
    done = eval(_compiled(page, title), names)
    if inspect.isawaitable(done):
        await done
    return names


def run_recipe_sync(page: str, title: str = "Recipe", **names: Any) -> dict[str, Any]:
    """The same for a recipe that awaits nothing."""
    names.setdefault("__name__", "recipe")
    assert eval(_compiled(page, title), names) is None, "it awaits"
    return names
