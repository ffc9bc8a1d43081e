"""The paper's published data: taken from an archive or a repository, verified, kept beside our own."""
