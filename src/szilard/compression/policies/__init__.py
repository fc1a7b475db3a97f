"""Policies: channels and bits of every layer, their effect and cost, and the search for the best one."""
