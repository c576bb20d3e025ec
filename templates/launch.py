"""What the launcher of the Flex Template runs: FLEX_TEMPLATE_PYTHON_PY_FILE names this file."""

import sys

from finecut.pipeline.commands.launch import launcher

if __name__ == "__main__":
    sys.exit(launcher(sys.argv[1:]))
