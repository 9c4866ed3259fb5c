"""`python -m opengateway` is the `opengateway` command."""

import sys

from opengateway.app.cli import main

sys.exit(main())
