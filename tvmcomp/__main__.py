"""``python -m tvmcomp``: the ``tvmcomp`` command."""

from tvmcomp.cli.main import main

if __name__ == "__main__":
    main()
