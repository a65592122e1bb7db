"""Rollouts that judge themselves. `machine` decides, `loop` acts; everything but the loop and the gates is pure."""
