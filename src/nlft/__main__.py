"""`python -m nlft` is the command `nlft`, for launchers that start modules."""

from nlft.cli.app import main

if __name__ == "__main__":
    main()
