"""The subscriber's side: `pollux watch`, a live ladder in a terminal, lines or JSON elsewhere."""

from net.watch.ladder import Ladder, LadderStatus
from net.watch.run import WatchOptions, run_watch

__all__ = ["Ladder", "LadderStatus", "WatchOptions", "run_watch"]
