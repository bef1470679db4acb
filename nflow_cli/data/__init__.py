"""Points and images: read, drawn, split, standardised."""
