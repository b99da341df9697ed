"""`python -m queuectld` is `queuectld`."""

import sys

from queuectld.cli import main

sys.exit(main())
