"""The control socket: the desk for whoever reviews from another process."""

from proxy.control.client import ControlDesk, GuardedRun, guarded_run
from proxy.control.guard import Guard
from proxy.control.server import ControlServer

__all__ = ["ControlDesk", "ControlServer", "Guard", "GuardedRun", "guarded_run"]
