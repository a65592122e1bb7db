"""Telling people and programs elsewhere what happens to traffic."""
