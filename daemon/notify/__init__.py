"""Telling the person: an outbox and its channels."""
