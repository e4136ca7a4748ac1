"""What the package's speed is worth, each figure against a peer or a floor measured beside it."""
