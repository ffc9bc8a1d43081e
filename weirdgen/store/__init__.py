"""Content-addressed artifacts and tables, in a folder or at a URL."""
