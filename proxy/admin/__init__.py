"""The admin API: what people and scripts see of the proxy, and the verbs they have over it.

Layer 3. It knows the controller and the values in `model`; it must never know the data plane, a store, or how
a decision is made.
"""
