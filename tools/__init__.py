"""Scripts for developers, run from a checkout; none is part of the installed package."""
