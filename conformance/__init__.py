"""Checks that a client in any language speaks the wire protocol (docs/protocol.md) to a live worker."""
