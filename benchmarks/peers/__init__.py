"""Other event stores for Python, each as its own documentation would have it used."""
