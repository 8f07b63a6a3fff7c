"""Where samples are gathered: the data plane writes here, the control plane drains once a tick."""
