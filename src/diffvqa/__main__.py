"""The program: `diffvqa`, or `python -m diffvqa` without installing."""

from diffvqa.huge_pages import start_with_huge_pages


def run() -> None:
    """Run the command line in a process that has large pages of memory."""
    start_with_huge_pages()
    from diffvqa.cli import main

    main()


if __name__ == "__main__":
    run()
