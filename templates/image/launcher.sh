#!/bin/sh
# A stand-in for the launcher of Google's Flex Templates, by what their documentation says of it: it
# runs the file that FLEX_TEMPLATE_PYTHON_PY_FILE names with the template's parameters as flags and
# the runner's options behind them. Google's own fetches those from the service; this one is given
# them as arguments.
set -eu
: "${FLEX_TEMPLATE_PYTHON_PY_FILE:?the launcher wants to know which file to run}"
exec python "${FLEX_TEMPLATE_PYTHON_PY_FILE}" "$@"
