"""The tests of OpenAI's SDK, with the version that LiteLLM goes with."""

from .sdks.test_openai import *  # noqa: F403
