"""`python -m proxy`, and the entry point of the command `sluice`."""

import sys

from proxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
