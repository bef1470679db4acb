"""Tables, points and images: read, drawn, split."""
