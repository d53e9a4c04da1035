"""``python -m climlink`` is the command line."""

from climlink.cli.main import main

main()
