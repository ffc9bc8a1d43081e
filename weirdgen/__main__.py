"""`python -m weirdgen`."""

from weirdgen.cli.main import main

if __name__ == "__main__":
    main()
