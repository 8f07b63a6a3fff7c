"""The control plane: one decision a tick, and the commands of people, which take the same road.

Layer 2. It knows `core` and what `ports` hands it; it must never know a request, a client or the admin.
"""
