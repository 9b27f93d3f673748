"""How long, and how much, a feed waits for before it does something else.

Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.layout.units import NS_PER_S

BUFFER_FRAMES_MAX = 16_384
"""Frames kept while a snapshot is awaited: 27 minutes of a pair at ten frames a second."""
AUDIT_FRAMES_MAX = 1024
"""Frames kept for an audit; one that gets no usable snapshot in that time is given up until later.
"""
QUIET_ASK_NS = 2 * NS_PER_S
"""A pair that sends nothing for so long is asked for its snapshot with an empty buffer."""
REACH_LIMIT_NS = 15 * NS_PER_S
"""How long the stream may take to reach a snapshot; then the snapshot was not of this book."""
WITNESS_LIMIT_NS = 2 * NS_PER_S
"""How long a snapshot that the stream has reached waits for changes of both sides."""
STREAM_SNAPSHOT_LIMIT_NS = 5 * NS_PER_S
"""How long a new subscription may take to bring its whole book before it is asked for again."""
STEADY_NS = 30 * NS_PER_S
"""A book that was live for so long asks for its next snapshot at once; a flapping one waits."""
INCOMPLETE_AUDIT_NS = 30 * NS_PER_S
"""The least time between two snapshots asked for only because the price left the known depth."""
