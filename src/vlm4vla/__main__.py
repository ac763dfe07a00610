"""`python -m vlm4vla` is the command `vlm4vla`."""

from __future__ import annotations

import sys

from vlm4vla.cli import main

if __name__ == "__main__":
    sys.exit(main())
