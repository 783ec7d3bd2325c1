"""What every test stands on."""

from __future__ import annotations

import signal

# A shell that starts tests in the background lets them ignore Ctrl-C, and their children with them.
# A handler of our own is not inherited: children start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
