"""The demonstration: two sample backends, the proxy between them, steady traffic, a fault, and its end."""
