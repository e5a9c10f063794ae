"""Where sessions outlive the process: the port, SQLite and Redis. Knows records and revisions, nothing of models."""
