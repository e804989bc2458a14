"""The version: the Rust engine is built with it and compared against it.

pyproject.toml has it too (a test holds them together): a build reads it without importing
the package.
"""

__version__ = "0.1.0"
