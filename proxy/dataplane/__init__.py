"""The data plane: one request from its first byte to its last, and the attempts that answer it.

Layer 2. It knows `core` and what `ports` hands it; it must never know a store, the admin or who set a weight.
"""
