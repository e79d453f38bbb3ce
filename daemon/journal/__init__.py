"""The journal: the only package that knows the database."""
