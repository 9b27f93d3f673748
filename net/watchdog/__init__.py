"""The watchdog: when the engine's heart stops, it cancels our orders over connections of its own.

No venue cancels orders when a connection is lost. The watchdog is a process beside the daemon, and
outlives it.

    __main__.py  signals, start          guard.py    when to act, and when it is done
    run.py       process, connections    sweep.py    one venue's orders on their way out
    options.py   what it is told         pulse.py    how long the engine has been silent
    keeper.py    the daemon's side: starts it, and halts quoting when it is gone
"""
