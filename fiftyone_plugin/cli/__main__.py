"""`python -m fiftyone_plugin.cli` is the `label-quality` command."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
