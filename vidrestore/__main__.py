"""``python -m vidrestore`` does what ``vidrestore`` does."""

from vidrestore.cli import run

if __name__ == "__main__":
    run()
