"""`python -m fiftyone_plugin.cli` is the `label-quality` command."""

import sys

from . import main

sys.exit(main())
