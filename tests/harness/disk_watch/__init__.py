"""What test servers load to be watched; see sitecustomize.py."""
