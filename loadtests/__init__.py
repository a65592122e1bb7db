"""Load tests: users for locust that anyone can point at a gateway, and `make loadtest`."""
