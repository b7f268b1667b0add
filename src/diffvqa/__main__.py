"""The program: `diffvqa`, or `python -m diffvqa` without installing."""

from diffvqa.allocator import start_with_fast_memory


def run() -> None:
    """Run the command line in a process that gets its memory fast."""
    start_with_fast_memory()
    from diffvqa.cli import main

    main()


if __name__ == "__main__":
    run()
