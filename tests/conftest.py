"""Rules that every test lives by.

Warnings are errors and a test that hangs prints every thread's stack after 50 s (setup.cfg: `timeout`,
`faulthandler_timeout`). The fixture below fails a test that leaves anything running.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import hypothesis
import leftovers
import pytest

leftovers.watch_zmq()
# A script that runs `tools/check &` has it ignore Ctrl-C, and all that it starts as well; what a test starts
# is to be interrupted as on a user's terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A shared, busy machine makes any deadline per example a coin toss; the run as a whole has a timeout.
hypothesis.settings.register_profile("opengateway", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("opengateway")


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Being the first function fixture it ends last. What wider fixtures own was there before it."""
    before = leftovers.take()
    yield
    if left := leftovers.wait_until_gone(before):
        leftovers.end_children(before)
        pytest.fail(f"{request.node.name} left behind: " + "; ".join(left), pytrace=False)
