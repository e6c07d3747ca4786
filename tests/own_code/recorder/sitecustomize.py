"""Python runs this when it starts: the processes that a recorded one starts are recorded too."""

import atexit
import os

from recording import FOLDER, Recording

if FOLDER in os.environ:
    atexit.register(Recording().write)
