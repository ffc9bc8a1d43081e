"""`python -m weirdgen`."""

from weirdgen.cli import main

if __name__ == "__main__":
    main()
