"""Arrays of units about a limit in; the jump there, its bandwidths, and tests of its design out."""
