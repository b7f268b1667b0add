"""`python -m diffvqa`: the command line without installing."""

from diffvqa.cli import main

main()
