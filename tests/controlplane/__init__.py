"""Tests of proxy.controlplane."""
