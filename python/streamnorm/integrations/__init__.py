"""Where streamnorm plugs into other systems: one module each, imported on demand.

None of them is imported by `streamnorm` itself, and each imports the library that it is for.
"""
