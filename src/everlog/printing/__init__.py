"""Printed events: configurations in JSON become classes, TypeScript and JSON Schema, and back."""

from __future__ import annotations

from everlog.printing.printing import export_events, print_events

__all__ = ["export_events", "print_events"]
