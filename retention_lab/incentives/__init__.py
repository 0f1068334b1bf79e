"""What an incentive bought, and what it cost: evidence in, effects and a ledger out."""
