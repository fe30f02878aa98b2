"""`python -m motia_runtime` is `motia`."""

from motia_runtime.cli import main

if __name__ == "__main__":
    main()
