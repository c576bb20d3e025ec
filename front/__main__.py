"""``python -m finecut``: the command where it is not on the PATH."""

import sys

from finecut.pipeline.cli.command import main

sys.exit(main())
