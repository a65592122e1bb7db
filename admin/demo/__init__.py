"""`headgate demo`: sample services, a real gateway in front of them, and a trickle of traffic."""
