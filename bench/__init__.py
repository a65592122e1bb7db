"""Measures the gateway: `python -m bench [names]`. docs/performance.md says what the figures mean."""
