"""`pollux soak`: a daemon among failing venues for hours; every book it publishes is judged."""

from __future__ import annotations
