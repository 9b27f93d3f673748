"""Who may import whom: the floors of the tree, and the rooms of engine/ and net/.

A room is a folder below its floor; a loose file of engine/ is one by itself. The tables are exact:
an arrow that is not in them is a mistake, and so is one in them that nothing needs any longer.
"""

from __future__ import annotations

FLOORS: dict[str, set[str]] = {
    "tuning": set(),
    "engine": set(),
    "proto": set(),
    "net": {"engine", "proto", "tuning"},
    "bench": {"net", "engine", "proto", "tuning"},
    "pollux": {"bench", "net", "engine", "proto", "tuning"},
    "tests": {"pollux", "bench", "net", "engine", "proto", "tuning"},
}
"""Each floor and the floors below it. An arrow never points up."""

ROOMS: dict[str, str] = {
    "engine/layout": "",
    "engine/compiling": "layout",
    "engine/decoding": "compiling layout",
    "engine/sharing": "compiling layout",
    "engine/book": "compiling decoding layout sharing",
    "engine/frame_call.py": "book compiling",
    "engine/maker": "book compiling decoding layout sharing",
    "engine/specs.py": "book decoding layout",
    "engine/units.py": "compiling decoding layout",
    "engine/stage.py": "compiling decoding layout sharing",
    "engine/engine.py": (
        "book compiling decoding frame_call.py layout sharing specs.py stage.py units.py"
    ),
    "net/log": "",
    "net/sockets": "log",
    "net/orders": "log sockets",
    "net/process": "log sockets",
    "net/simulator": "log process tape",
    "net/tape": "log",
    "net/gateway": "log orders process",
    "net/journal": "orders process",
    "net/venues": "log orders",
    "net/config": "gateway log process venues",
    "net/client": "config gateway process",
    "net/maker": "config journal log orders sockets venues",
    "net/feed": "config log maker sockets tape venues",
    "net/watchdog": "config log maker orders process sockets",
    "net/observe": "client config feed gateway log orders process",
    "net/replay": "config feed journal maker process sockets tape venues",
    "net/daemon": (
        "client config feed gateway journal log maker observe orders process simulator "
        "sockets tape venues watchdog"
    ),
}
"""Each room of engine/ and net/, and the rooms of its own floor that it imports."""

SIMULATOR = "net.simulator"
SIMULATOR_IS_IMPORTED_BY = ("net/simulator/", "net/daemon/demo.py", "pollux.py", "bench/", "tests/")
"""The laboratory: nothing at run time needs it but the demonstration and its own command."""

NET_ROOMS_MAX = 18
"""More doors than a newcomer can keep in mind, and there is one too few floors."""
