"""The revisions, four digits each, so that they sort."""
