"""The second half of the gateway: copies of requests sent to a shadow, its answers compared, noise told from news."""
