"""``python -m streamnorm.faults``: the fault server; see `streamnorm.fault_server`."""

from __future__ import annotations

import sys

from ..fault_server.main import main

if __name__ == "__main__":
    sys.exit(main())
