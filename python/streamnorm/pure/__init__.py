"""The reference engine: every rule is decided here first, and ``rust/core`` mirrors it."""
