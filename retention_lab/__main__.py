"""``python -m retention_lab`` in; the command line out."""

from retention_lab.cli import main

if __name__ == "__main__":
    main()
