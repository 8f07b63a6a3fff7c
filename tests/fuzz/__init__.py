"""Arbitrary bytes against everything that reads what others have written."""
