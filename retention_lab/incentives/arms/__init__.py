"""Arm moments in; what an incentive brought and cost, per customer and per dollar, out."""
