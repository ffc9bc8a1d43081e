"""The paper's published data: taken from an archive or repository, verified, kept beside our own."""
