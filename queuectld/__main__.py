"""Run the daemon with `python -m queuectld`."""

import sys

from queuectld.cli import main

sys.exit(main())
