"""Alembic's environment: `env.py` and one module a revision."""
