"""Several instances that share a real store, under load."""
