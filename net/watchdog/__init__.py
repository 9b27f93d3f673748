"""The watchdog: when the engine's heartbeat stops, it cancels our orders over its own connections.

No venue cancels orders when a connection is lost. The watchdog is a process beside the daemon, and
outlives it.

    __main__.py  signals, start          watchdog.py    when to act, and when it is done
    process.py   log, connections        heartbeat.py   how long the engine has been silent
    options.py   what it is told
    launcher.py  the daemon's side: starts it, and halts quoting when it has ended
"""
