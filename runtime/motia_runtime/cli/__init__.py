"""The command `motia`. Exit codes: 0 done, 1 findings or failure, 2 wrong usage, 130 Ctrl-C. Results go to stdout, talk to stderr."""

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process. Never returns, never shows a traceback unless asked with --debug."""
    from motia_runtime.cli.root import motia

    motia.main(prog_name="motia")
